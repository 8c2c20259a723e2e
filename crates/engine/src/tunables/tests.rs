//! Defaults, ranges, and what goes before what.

use super::*;

#[test]
fn positions_are_those_of_the_names() {
    let named = [
        (LEAF_BYTES, "leaf_bytes"),
        (DELTA_RECORDS, "delta_records"),
        (CODEC, "codec"),
        (CODEC_LEVEL, "codec_level"),
        (BLOB_BYTES, "blob_bytes"),
        (MEMORY_BYTES, "memory_bytes"),
        (HOT_BYTES, "hot_bytes"),
        (WARM_BYTES, "warm_bytes"),
        (POINT_CACHE_BYTES, "point_cache_bytes"),
        (WARM_CODEC, "warm_codec"),
        (REPLACEMENT, "replacement"),
        (ABSENT_FILTER, "absent_filter"),
        (READAHEAD_BYTES, "readahead_bytes"),
        (CHECKPOINT_LOG_BYTES, "checkpoint_log_bytes"),
        (GROUP_INTERVAL_MS, "group_interval_ms"),
        (HELD_BACK_BYTES, "held_back_bytes"),
        (SLACK_PERCENT, "slack_percent"),
    ];
    assert_eq!(named.len(), REGISTRY.len());
    for (index, name) in named {
        assert_eq!(position(name).expect("declared"), index);
    }
}

#[test]
fn defaults_are_in_range_and_bad_values_change_nothing() {
    for tunable in REGISTRY {
        assert_eq!(tunable.encode(&tunable.default_value()).expect(tunable.name), tunable.default);
    }
    let settings = Settings::of_family(&Arc::new(Settings::of_database()));
    let good = ("leaf_bytes".to_string(), Value::Integer(4096));
    for bad in [
        ("leaf_bytes", Value::Integer(0)),
        ("codec", Value::Text("rar".into())),
        ("memory_bytes", Value::Integer(1 << 20)),
        ("no_such", Value::Integer(1)),
        ("codec", Value::Integer(1)),
        ("leaf_bytes", Value::Text("big".into())),
    ] {
        let error = settings.set(&[good.clone(), (bad.0.to_string(), bad.1)]).expect_err(bad.0);
        assert!(matches!(error, Error::Config { name, .. } if name == bad.0));
    }
    assert!(settings.kept().is_empty());
    settings.set(std::slice::from_ref(&good)).expect("in range");
    assert_eq!((settings.leaf_bytes(), settings.kept()), (4096, vec![good]));
    settings.reset(&["leaf_bytes".to_string()]).expect("known");
    assert!(settings.kept().is_empty());
}

/// Of a family and of the database, with all that users may have said, what is in force.
#[test]
fn what_goes_before_what() {
    let of = |number| [("leaf_bytes".to_string(), Value::Integer(number))];
    let name = ["leaf_bytes".to_string()];
    let database = Arc::new(Settings::of_database());
    let family = Settings::of_family(&database);
    let in_force = || {
        family.refresh();
        (database.leaf_bytes(), family.leaf_bytes(), family.list()[LEAF_BYTES].2)
    };
    assert_eq!(in_force(), (8192, 8192, false));
    database.tune(&of(1024)).expect("in range");
    assert_eq!(in_force(), (1024, 1024, false), "tuned for the database");
    family.tune(&of(2048)).expect("in range");
    assert_eq!(in_force(), (1024, 2048, false), "tuned for the family");
    database.keep(&of(1025)).expect("in range");
    assert_eq!(in_force(), (1025, 1025, true), "kept from before");
    database.give(&of(1026)).expect("in range");
    assert_eq!(in_force(), (1026, 1026, true), "given to open");
    database.set(&of(1027)).expect("in range");
    assert_eq!(in_force(), (1027, 1027, true), "set since");
    family.set(&of(1028)).expect("in range");
    assert_eq!(in_force(), (1027, 1028, true), "set for the family");
    assert_eq!((database.kept(), family.kept()), (of(1027).to_vec(), of(1028).to_vec()));
    let copies = (database.copy(), family.copy());
    database.reset(&name).expect("known");
    assert_eq!(in_force(), (1026, 1028, true), "given to open again");
    family.reset(&name).expect("known");
    assert_eq!(in_force(), (1026, 1026, true));
    assert_eq!((database.kept(), family.kept()), (vec![], vec![]));
    database.restore(copies.0);
    family.restore(copies.1);
    assert_eq!(in_force(), (1027, 1028, true), "as before the resets");
    database.keep(&[]).expect("nothing");
    assert_eq!(in_force(), (1026, 1028, true));
    assert!(matches!(family.reset(&["memory_bytes".to_string()]), Err(Error::Config { .. })));
    // What was tuned has stayed below all of it, and nothing of it is kept.
    let database = Arc::new(Settings::of_database());
    let family = Settings::of_family(&database);
    database.tune(&of(1024)).expect("in range");
    database.set(&of(1027)).expect("in range");
    database.reset(&name).expect("known");
    assert_eq!((database.leaf_bytes(), database.kept()), (1024, vec![]));
    database.tune(&[]).expect("nothing");
    family.refresh();
    assert_eq!((database.leaf_bytes(), family.leaf_bytes()), (8192, 8192));
    let limit = [("held_back_bytes".to_string(), Value::Integer(1 << 20))];
    assert!(matches!(database.tune(&limit), Err(Error::Config { .. })), "users' own");
}
