//! What a database holds beside records: its families, their notes and pinned settings, and where their trees begin.

use std::collections::BTreeSet;

use crate::bytes::{Reader, put_bytes, put_varint};
use crate::database::DEFAULT_FAMILY;
use crate::tunables::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    pub settings: Vec<(String, Value)>,
    pub families: Vec<FamilyEntry>,
    /// The next new family's number; numbers are never used again.
    pub next_id: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FamilyEntry {
    pub id: u32,
    pub name: String,
    pub note: Option<String>,
    pub settings: Vec<(String, Value)>,
    pub root: Option<Root>,
}

/// Where a family's tree begins in the page file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The extent's bits.
    pub extent: u64,
    /// 0 when the root is a leaf.
    pub level: u32,
    pub records: u64,
    /// The root is a leaf and some of its records expire.
    pub expiring: bool,
    /// The root is a leaf: the extents (bits) of its long values.
    pub blobs: Vec<u64>,
}

const INTEGER: u8 = 0;
const TEXT: u8 = 1;
/// A family without a name: nothing is allocated for more families than the bytes can hold.
const LEAST_FAMILY_BYTES: usize = 6;

fn put_settings(out: &mut Vec<u8>, settings: &[(String, Value)]) {
    put_varint(out, settings.len() as u64);
    for (name, value) in settings {
        put_bytes(out, name.as_bytes());
        match value {
            Value::Integer(number) => {
                out.push(INTEGER);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Text(text) => {
                out.push(TEXT);
                put_bytes(out, text.as_bytes());
            }
        }
    }
}

fn settings(reader: &mut Reader<'_>) -> Option<Vec<(String, Value)>> {
    let count = reader.size().filter(|&count| count <= reader.remaining())?;
    (0..count)
        .map(|_| {
            let name = reader.text()?.to_string();
            let value = match reader.byte()? {
                INTEGER => Value::Integer(reader.fixed64()? as i64),
                TEXT => Value::Text(reader.text()?.into()),
                _ => return None,
            };
            Some((name, value))
        })
        .collect()
}

impl Catalogue {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_settings(&mut out, &self.settings);
        put_varint(&mut out, self.next_id.into());
        put_varint(&mut out, self.families.len() as u64);
        for family in &self.families {
            put_varint(&mut out, family.id.into());
            put_bytes(&mut out, family.name.as_bytes());
            out.push(u8::from(family.note.is_some()));
            put_bytes(&mut out, family.note.as_deref().unwrap_or_default().as_bytes());
            put_settings(&mut out, &family.settings);
            out.push(u8::from(family.root.is_some()));
            if let Some(root) = &family.root {
                out.extend_from_slice(&root.extent.to_le_bytes());
                put_varint(&mut out, root.level.into());
                put_varint(&mut out, root.records);
                out.push(u8::from(root.expiring));
                put_varint(&mut out, root.blobs.len() as u64);
                root.blobs.iter().for_each(|blob| out.extend_from_slice(&blob.to_le_bytes()));
            }
        }
        out
    }

    /// `None`: the bytes are no catalogue.
    pub fn decode(bytes: &[u8]) -> Option<Catalogue> {
        let mut reader = Reader::new(bytes);
        let settings_all = settings(&mut reader)?;
        let next_id = u32::try_from(reader.varint()?).ok()?;
        let count = reader.size().filter(|&count| count <= reader.remaining() / LEAST_FAMILY_BYTES)?;
        let mut families = Vec::with_capacity(count);
        for _ in 0..count {
            let id = u32::try_from(reader.varint()?).ok()?;
            let name = reader.text()?.to_string();
            let noted = reader.byte()? != 0;
            let note = Some(reader.text()?.to_string()).filter(|_| noted);
            let settings = settings(&mut reader)?;
            let root = match reader.byte()? {
                0 => None,
                _ => Some(Root {
                    extent: reader.fixed64()?,
                    level: u32::try_from(reader.varint()?).ok()?,
                    records: reader.varint()?,
                    expiring: reader.byte()? != 0,
                    blobs: {
                        let count = reader.size().filter(|&count| count <= reader.remaining() / 8)?;
                        (0..count).map(|_| reader.fixed64()).collect::<Option<_>>()?
                    },
                }),
            };
            families.push(FamilyEntry { id, name, note, settings, root });
        }
        let catalogue = Catalogue { settings: settings_all, families, next_id };
        (reader.is_empty() && catalogue.is_sound()).then_some(catalogue)
    }

    /// Whether families can be told apart, now and later, and the one that is always there is.
    fn is_sound(&self) -> bool {
        let names: BTreeSet<&str> = self.families.iter().map(|family| family.name.as_str()).collect();
        names.len() == self.families.len()
            && names.contains(DEFAULT_FAMILY)
            && self.families.is_sorted_by(|a, b| a.id < b.id)
            && self.families.last().is_some_and(|last| last.id < self.next_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = Catalogue::decode(&bytes);
        }
    }

    #[test]
    fn a_catalogue_comes_back() {
        let root = Root { extent: 1 << 30, level: 2, records: 12, expiring: true, blobs: vec![1 << 20, 64] };
        let setting = |name: &str, value| (name.to_string(), value);
        let family = |id, name: &str, note: Option<&str>, root| FamilyEntry {
            id,
            name: name.into(),
            note: note.map(str::to_string),
            settings: vec![setting("leaf_bytes", Value::Integer(-4096)), setting("codec", Value::Text("zstd".into()))],
            root,
        };
        let families = vec![family(0, DEFAULT_FAMILY, None, None), family(7, "other", Some(""), Some(root))];
        let catalogue = Catalogue { settings: vec![setting("memory_bytes", Value::Integer(1))], families, next_id: 8 };
        let encoded = catalogue.encode();
        assert_eq!(Catalogue::decode(&encoded), Some(catalogue.clone()));
        for end in 0..encoded.len() {
            assert_eq!(Catalogue::decode(&encoded[..end]), None);
        }
        let refused = |change: &dyn Fn(&mut Catalogue)| {
            let mut changed = catalogue.clone();
            change(&mut changed);
            Catalogue::decode(&changed.encode()).is_none()
        };
        assert!(refused(&|catalogue| catalogue.families[1].id = 0), "a number twice");
        assert!(refused(&|catalogue| catalogue.families.reverse()), "numbers out of order");
        assert!(refused(&|catalogue| catalogue.families[1].name = DEFAULT_FAMILY.into()), "a name twice");
        assert!(refused(&|catalogue| drop(catalogue.families.remove(0))), "no default family");
        assert!(refused(&|catalogue| catalogue.next_id = 7), "the next number is not new");
    }
}
