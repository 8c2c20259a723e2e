//! A bank: threads move money, and the total is right for whoever looks, in whichever way, at every moment, and after a kill.

mod common;

#[path = "common/unrest.rs"]
mod unrest;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Random, assert_sound, multi_get, open, rows_of, scaled, setting, tally, tiny_settings};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Database, Durability, Error, Family, Fetched, Options, Range, Rows};
use lyredb_engine::{Snapshot, Transaction};

/// A customer has one account in each family.
const CUSTOMERS: u64 = 120;
const DEPOSIT: i64 = 100;
const TOTAL: i64 = CUSTOMERS as i64 * 2 * DEPOSIT;
const FILLERS: u64 = 9_000;

/// By customer and family. An account with nothing in it is often not there.
type Balances = BTreeMap<(u64, usize), i64>;

fn account(customer: u64) -> Vec<u8> {
    format!("{:04}/account", customer * 71).into_bytes()
}

fn filler(number: u64) -> Vec<u8> {
    format!("{:04}/{number}", number % (CUSTOMERS * 71)).into_bytes()
}

fn customer(key: &[u8]) -> Option<u64> {
    let number = key.strip_suffix(b"/account")?;
    Some(std::str::from_utf8(number).expect("digits").parse::<u64>().expect("digits") / 71)
}

fn balance(value: &[u8]) -> i64 {
    i64::from_le_bytes(value[..8].try_into().expect("a balance has eight bytes"))
}

/// Half the time one of few, so that several pay at once for the same customer.
fn anybody(random: &mut Random) -> u64 {
    let among = if random.one_in(2) { CUSTOMERS } else { 5 };
    random.below(among)
}

fn families(database: &Database) -> [Family; 2] {
    ["current", "savings"].map(|name| database.family(name).expect("open").expect("the family is there"))
}

/// What a scan found, as balances.
fn accounts(family: usize, rows: Vec<(Vec<u8>, Vec<u8>)>) -> impl Iterator<Item = ((u64, usize), i64)> {
    rows.into_iter().filter_map(move |(key, value)| Some(((customer(&key)?, family), balance(&value))))
}

struct Bank {
    database: Database,
    disk: MemoryDisk,
    options: Options,
    families: [Family; 2],
    serializable: bool,
    transfers: AtomicU64,
    audits: AtomicU64,
    over: AtomicBool,
}

impl Bank {
    fn new(durability: Durability, serializable: bool) -> Bank {
        let mut settings = vec![setting("memory_bytes", 1 << 20), setting("checkpoint_log_bytes", 1 << 20)];
        settings.extend(tiny_settings());
        let options = Options { durability, settings, ..Options::default() };
        let disk = MemoryDisk::new();
        let database = open(&disk, &options);
        for name in ["current", "savings"] {
            database.create_family(name, &[]).expect("a family");
        }
        let families = families(&database);
        let mut opening = Batch::default();
        for family in &families {
            for customer in 0..CUSTOMERS {
                opening.put(family, &account(customer), &DEPOSIT.to_le_bytes(), None).expect("room");
            }
            for number in 0..FILLERS {
                opening.put(family, &filler(number), &[3; 80], None).expect("room");
            }
        }
        database.write(opening).expect("a commit");
        // So that no image that a kill leaves is from before it.
        database.sync().expect("a sync");
        let [transfers, audits] = [(); 2].map(|()| AtomicU64::new(0));
        Bank { database, disk, options, families, serializable, transfers, audits, over: AtomicBool::new(false) }
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// The bank's rule: who pays has to have the amount in both accounts together. Only serializable transactions keep to it.
    fn assert_right(&self, balances: &Balances, how: &str) {
        assert_eq!(balances.values().sum::<i64>(), TOTAL, "the total by {how}");
        for customer in (0..CUSTOMERS).filter(|_| self.serializable) {
            let both = [0, 1].map(|family| balances.get(&(customer, family)).copied().unwrap_or(0));
            assert!(both[0] + both[1] >= 0, "{how}: customer {customer} has {both:?}");
        }
    }

    /// From either account of one customer to some of others.
    fn transfer(&self, random: &mut Random) -> Result<(), Error> {
        let timeout = random.one_in(4).then_some(Duration::from_secs(600));
        let mut transaction = self.database.begin(self.serializable, timeout)?;
        let payer = anybody(random);
        let both = [0, 1].map(|family| self.balance(&mut transaction, payer, family));
        let from = random.below(2) as usize;
        let mut amount = if random.one_in(4) { both[0] + both[1] } else { random.below(60) as i64 };
        // At snapshot level both together may be less than nothing.
        if both[0] + both[1] < amount || amount <= 0 {
            return transaction.rollback();
        }
        self.set(&mut transaction, random, (payer, from), both[from] - amount)?;
        if random.one_in(8) {
            thread::yield_now();
        }
        while amount > 0 {
            let part = if random.one_in(2) { amount } else { 1 + random.below(amount as u64) as i64 };
            let to = (anybody(random), random.below(2) as usize);
            if random.one_in(16) {
                let savepoint = transaction.savepoint()?;
                self.set(&mut transaction, random, to, 1_000_000)?;
                transaction.rollback_to(savepoint)?;
            }
            let before = self.balance(&mut transaction, to.0, to.1);
            self.set(&mut transaction, random, to, before + part)?;
            amount -= part;
        }
        if random.one_in(32) { transaction.rollback() } else { transaction.commit() }
    }

    fn balance(&self, transaction: &mut Transaction, customer: u64, family: usize) -> i64 {
        transaction.get(&self.families[family], &account(customer), balance).expect("a read").unwrap_or(0)
    }

    fn set(
        &self,
        transaction: &mut Transaction,
        random: &mut Random,
        (customer, family): (u64, usize),
        balance: i64,
    ) -> Result<(), Error> {
        let (family, key) = (&self.families[family], account(customer));
        if balance == 0 {
            return transaction.delete(family, &key).map(drop);
        }
        let mut value = balance.to_le_bytes().to_vec();
        // Now and then long enough to stand outside its leaf.
        value.resize(if random.one_in(16) { 600 } else { 8 + random.below(60) as usize }, 1);
        transaction.put(family, &key, &value, None)
    }

    fn move_money(&self, seed: u64) {
        let mut random = Random(seed);
        unrest::hold_up(seed);
        while self.goes_on() {
            match self.transfer(&mut random) {
                Ok(()) => drop(self.transfers.fetch_add(1, Ordering::Relaxed)),
                Err(Error::Conflict { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn by_scan(&self, snapshot: &Snapshot, reverse: bool, limit: usize) -> Balances {
        let both = self.families.iter().enumerate();
        let scan = |(index, family)| accounts(index, rows_of(snapshot, family, Range::default(), reverse, limit));
        both.flat_map(scan).collect()
    }

    fn by_multi_get(&self, snapshot: &Snapshot) -> Balances {
        let keys: Vec<Vec<u8>> = (0..CUSTOMERS).map(account).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut found = Balances::new();
        for (index, family) in self.families.iter().enumerate() {
            let values = (0..).zip(multi_get(snapshot, family, &keys));
            found.extend(values.filter_map(|(customer, value)| Some(((customer, index), balance(&value?)))));
        }
        found
    }

    fn by_gets(&self, snapshot: &Snapshot, random: &mut Random) -> Balances {
        let mut places: Vec<(u64, usize)> =
            (0..CUSTOMERS).flat_map(|customer| [(customer, 0), (customer, 1)]).collect();
        for at in (1..places.len()).rev() {
            places.swap(at, random.below(at as u64 + 1) as usize);
        }
        let get = |place: (u64, usize)| {
            let found = snapshot.get(&self.families[place.1], &account(place.0), balance).expect("a read");
            Some((place, found?))
        };
        places.into_iter().filter_map(get).collect()
    }

    /// A transaction that only reads: some accounts one by one, the others by scans from customer to customer.
    fn by_transaction(&self, random: &mut Random) -> Balances {
        let mut transaction = self.database.begin(self.serializable, None).expect("a transaction");
        let mut found = Balances::new();
        for (index, family) in self.families.iter().enumerate() {
            let middle = random.below(CUSTOMERS);
            for customer in 0..middle {
                let value = transaction.get(family, &account(customer), balance).expect("a read");
                found.extend(value.map(|value| ((customer, index), value)));
            }
            let range = Range::half_open(Some(&account(middle)), None);
            let mut cursor = transaction.cursor(family, range, random.one_in(2)).expect("a cursor");
            let mut rows = Rows::default();
            while cursor.fetch(Columns::Both, 50, usize::MAX / 2, true, &mut rows).expect("rows") != Fetched::Done {}
            let rows = (0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())).collect();
            found.extend(accounts(index, rows));
        }
        transaction.commit().expect("it only read, which meets no conflict");
        found
    }

    fn audit(&self, seed: u64) {
        let mut random = Random(seed);
        unrest::hold_up(seed);
        let mut old = (self.database.snapshot().expect("a snapshot"), None);
        while self.goes_on() {
            let snapshot = self.database.snapshot().expect("a snapshot");
            let limit = 1 + random.below(300) as usize;
            let (how, found) = match random.below(4) {
                0 => ("a scan", self.by_scan(&snapshot, random.one_in(2), limit)),
                1 => ("multi_get", self.by_multi_get(&snapshot)),
                2 => ("gets", self.by_gets(&snapshot, &mut random)),
                _ => ("a transaction", self.by_transaction(&mut random)),
            };
            self.assert_right(&found, how);
            // One moment is one moment, in whichever way and how often it is looked at.
            if random.one_in(8) {
                let again = self.by_scan(&old.0, random.one_in(2), limit);
                self.assert_right(&again, "an old snapshot");
                assert!(old.1.as_ref().is_none_or(|before| *before == again), "a snapshot changed");
                assert_eq!(self.by_multi_get(&old.0), again, "two ways to look at one moment");
                old = if random.one_in(4) { (snapshot, None) } else { (old.0, Some(again)) };
            }
            self.audits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is found after the process was killed at this moment.
    fn audit_after_kill(&self) {
        let database = open(&self.disk.image(), &self.options);
        let found = |(index, family): (usize, &Family)| {
            let snapshot = database.snapshot().expect("a snapshot");
            accounts(index, rows_of(&snapshot, family, Range::default(), false, 500)).collect::<Vec<_>>()
        };
        let balances: Balances = families(&database).iter().enumerate().flat_map(found).collect();
        self.assert_right(&balances, "after a kill");
        assert_sound(&database);
    }

    /// Checkpoints, compacts, kills, and other records that come and go and expire.
    fn disturb(&self) -> u64 {
        let mut random = Random(7);
        let mut kills = 0;
        for turn in 1.. {
            if !self.goes_on() {
                break;
            }
            match turn % 16 {
                3 => self.database.compact(&mut |_, _| true).expect("compacts"),
                9 => {
                    self.audit_after_kill();
                    kills += 1;
                }
                _ => self.database.checkpoint().expect("a checkpoint"),
            }
            let mut batch = Batch::default();
            for family in &self.families {
                // Many at one place, so that leaves there split, and merge again.
                let place = random.below(FILLERS);
                for number in place..place + 40 {
                    let time_to_live = random.one_in(2).then(|| Duration::from_millis(1 + random.below(30)));
                    match turn % 2 {
                        0 => batch.put(family, &filler(number), &[4; 150], time_to_live).expect("room"),
                        _ => batch.delete(family, &filler(number)).expect("room"),
                    }
                }
            }
            self.database.write(batch).expect("a commit");
            thread::sleep(Duration::from_millis(2));
        }
        kills
    }

    /// Tells the looks at the total.
    fn run(&self, transfers: u64, audits: u64) -> u64 {
        let kills = thread::scope(|scope| {
            let movers = [1, 2, 3].map(|seed| scope.spawn(move || self.move_money(seed)));
            let auditors = [4, 5].map(|seed| scope.spawn(move || self.audit(seed)));
            let disturber = scope.spawn(|| self.disturb());
            let done =
                || self.transfers.load(Ordering::Relaxed) >= transfers && self.audits.load(Ordering::Relaxed) >= audits;
            let failed = || movers.iter().chain(&auditors).any(|thread| thread.is_finished());
            while !done() && !failed() && !disturber.is_finished() {
                thread::sleep(Duration::from_millis(5));
            }
            self.over.store(true, Ordering::Relaxed);
            movers.into_iter().chain(auditors).for_each(|thread| thread.join().expect("no one failed"));
            disturber.join().expect("it did not fail")
        });
        self.assert_right(&self.by_scan(&self.database.snapshot().expect("a snapshot"), false, 100), "in the end");
        self.database.sync().expect("a sync");
        self.audit_after_kill();
        assert_sound(&self.database);
        self.audits.load(Ordering::Relaxed) + kills + 2
    }
}

fn audit_all(serializable: bool) {
    for durability in [Durability::Async, Durability::Group, Durability::Sync] {
        let bank = Bank::new(durability, serializable);
        tally("audits", bank.run(scaled(6_000), scaled(500)));
    }
}

#[test]
fn snapshot_isolation_keeps_the_total() {
    audit_all(false);
}

#[test]
fn serializable_transactions_keep_the_total_and_the_rule() {
    audit_all(true);
}
