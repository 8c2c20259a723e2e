//! Sessions that append to lists and read them, beside all that may disturb them.
//!
//! A list is one record, in one of two families, and moves between them: so each append is a read of up to two records and
//! a put, and often a deletion. Lists stay short: after some appends the sessions go on to other keys. Eight neighbouring
//! keys are a group, which is scanned, moved and in the end deleted as one range.

use std::ops::Range as Numbers;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Cursor, Database, Durability, Error, Family, Fetched, Options, Range, Rows};
use lyredb_engine::{Snapshot, Stat, Transaction};

use super::common::{self, Random, assert_sound, multi_get, open, setting, tiny_settings};
use super::history::{Element, History};
use super::unrest;

pub struct Setup {
    pub serializable: bool,
    pub durability: Durability,
    /// Tiny pages, and less memory than there are records.
    pub tiny: bool,
    pub sessions: u32,
    /// Each transaction takes a number from one clock before and after, and is held up in the middle now and then. Without
    /// that sessions have nothing in common but the engine.
    pub clock: bool,
    /// Commits of all sessions together.
    pub commits: u64,
}

const KEYS_IN_GROUP: u32 = 8;
/// Groups in use at a time.
const GROUPS: u64 = 3;
/// Appends after which the sessions go on by one group.
const APPENDS_TO_GROUP: u64 = 100;
/// Records that stand beside the lists.
const FILLERS: u64 = 12_000;

/// Keys stand in the order of groups, but groups in no order, so that they are spread over the fillers.
fn group_prefix(group: u32) -> [u8; 5] {
    let spread = group.wrapping_mul(0x9e37_79b1).to_be_bytes();
    [spread[0], spread[1], spread[2], spread[3], b'/']
}

fn key_bytes(key: u32) -> [u8; 6] {
    let prefix = group_prefix(key / KEYS_IN_GROUP);
    [prefix[0], prefix[1], prefix[2], prefix[3], prefix[4], (key % KEYS_IN_GROUP) as u8]
}

fn filler_key(filler: u64) -> [u8; 6] {
    let spread = (filler as u32).wrapping_mul(0x85eb_ca6b).to_be_bytes();
    [spread[0], spread[1], spread[2], spread[3], b'.', 0]
}

fn encode(list: &[Element], padding: usize) -> Vec<u8> {
    let mut value = (list.len() as u32).to_le_bytes().to_vec();
    list.iter().for_each(|element| value.extend(element.to_le_bytes()));
    value.resize(value.len() + padding, 0);
    value
}

fn decode(value: &[u8]) -> Vec<Element> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let length = number(&value[..4]) as usize;
    value[4..4 + 4 * length].chunks(4).map(number).collect()
}

/// Where a list stands: the number of the family. One that is empty stands nowhere, and is begun at home.
type Place = Option<usize>;

fn home(key: u32) -> usize {
    key as usize % 2
}

pub struct Stage<'a> {
    setup: &'a Setup,
    database: Database,
    families: [Family; 2],
    clock: AtomicU64,
    appends: AtomicU64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    /// The oldest group that each session may still use.
    oldest: Vec<AtomicU64>,
    over: AtomicBool,
}

impl Stage<'_> {
    /// Runs the sessions until there are as many commits as wanted; what they did, and how often they met a conflict.
    pub fn run(setup: &Setup) -> (History, u64) {
        let mut settings = vec![setting("checkpoint_log_bytes", 1 << 20)];
        if setup.tiny {
            settings.push(setting("memory_bytes", 1 << 20));
            settings.extend(tiny_settings());
        }
        let options = Options { durability: setup.durability, settings, ..Options::default() };
        let database = open(&MemoryDisk::new(), &options);
        let families = ["first", "second"].map(|name| database.create_family(name, &[]).expect("a family"));
        for family in &families {
            let mut batch = Batch::default();
            for filler in 0..FILLERS {
                batch.put(family, &filler_key(filler), &[7; 80], None).expect("room");
            }
            database.write(batch).expect("a commit");
        }
        let stage = Stage {
            setup,
            database,
            families,
            clock: AtomicU64::new(1),
            appends: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            oldest: (0..setup.sessions).map(|_| AtomicU64::new(0)).collect(),
            over: AtomicBool::new(false),
        };
        let history = stage.act();
        assert_sound(&stage.database);
        assert!(stage.evictions() > 0 || !setup.tiny, "nothing was evicted");
        (history, stage.conflicts.into_inner())
    }

    fn evictions(&self) -> u64 {
        let stats = self.database.stats().expect("figures");
        let figures = stats.families.iter().flat_map(|(_, family)| &family.figures);
        let counts = figures.map(|figure| match figure {
            ("evictions", Stat::Count(evictions)) => *evictions,
            _ => 0,
        });
        counts.sum()
    }

    fn act(&self) -> History {
        thread::scope(|scope| {
            let sessions: Vec<_> = (0..self.setup.sessions)
                .map(|session| scope.spawn(move || Session::new(self, session).run()))
                .collect();
            let disturber = scope.spawn(|| self.disturb());
            let ended: Vec<_> = sessions.into_iter().map(|session| session.join()).collect();
            self.over.store(true, Ordering::Relaxed);
            let mut whole = History::default();
            ended.into_iter().for_each(|history| whole.join(history.expect("a session")));
            let deleted = disturber.join().expect("the disturber");
            let mut last = Session::new(self, self.setup.sessions);
            last.read_all(deleted..self.newest() + GROUPS);
            whole.join(last.history);
            whole
        })
    }

    fn newest(&self) -> u64 {
        self.appends.load(Ordering::Relaxed) / APPENDS_TO_GROUP
    }

    fn tick(&self) -> u64 {
        if self.setup.clock { self.clock.fetch_add(1, Ordering::SeqCst) } else { 0 }
    }

    /// Checkpoints, compacts, writes and lets expire beside the sessions; deletes groups that none of them uses any more,
    /// and tells up to which.
    fn disturb(&self) -> u64 {
        let mut random = Random(99);
        let mut deleted = 0;
        let mut old = self.database.snapshot().expect("a snapshot");
        let mut seen = self.look(&old, deleted);
        let mut looked_at = deleted;
        for turn in 1.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            if turn % 8 == 0 {
                assert!(self.look(&old, looked_at) == seen, "a snapshot changed");
                old = self.database.snapshot().expect("a snapshot");
                looked_at = self.newest();
                seen = self.look(&old, looked_at);
            }
            match turn % 32 {
                7 => self.database.compact(&mut |_, _| true).expect("compacts"),
                _ => self.database.checkpoint().expect("a checkpoint"),
            }
            let mut batch = Batch::default();
            for family in &self.families {
                for _ in 0..20 {
                    let filler = filler_key(random.below(2 * FILLERS));
                    let time_to_live = random.one_in(2).then(|| Duration::from_millis(1 + random.below(20)));
                    match random.below(3) {
                        0 => batch.delete(family, &filler).expect("room"),
                        _ => batch.put(family, &filler, &[8; 120], time_to_live).expect("room"),
                    }
                }
            }
            let unused = self.oldest.iter().map(|oldest| oldest.load(Ordering::Relaxed)).min().unwrap_or(0);
            for group in deleted..unused {
                let prefix = group_prefix(group as u32);
                let stop = [&prefix[..4], b"0"].concat();
                for family in &self.families {
                    batch.delete_range(family, Some(&prefix), Some(&stop)).expect("room");
                }
            }
            deleted = unused;
            self.database.write(batch).expect("a commit");
            thread::sleep(Duration::from_millis(2));
        }
        deleted
    }

    fn look(&self, snapshot: &Snapshot, group: u64) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
        let range = || Range::prefix(&group_prefix(group as u32));
        self.families.iter().map(|family| common::rows_of(snapshot, family, range(), false, 3)).collect()
    }
}

/// What a session reads in.
trait View {
    fn list(&mut self, family: &Family, key: &[u8]) -> Option<Vec<Element>>;
    fn rows(&mut self, family: &Family, range: Range, reverse: bool) -> Cursor;
}

impl View for Transaction {
    fn list(&mut self, family: &Family, key: &[u8]) -> Option<Vec<Element>> {
        self.get(family, key, decode).expect("a read")
    }

    fn rows(&mut self, family: &Family, range: Range, reverse: bool) -> Cursor {
        self.cursor(family, range, reverse).expect("a cursor")
    }
}

impl View for Snapshot {
    fn list(&mut self, family: &Family, key: &[u8]) -> Option<Vec<Element>> {
        self.get(family, key, decode).expect("a read")
    }

    fn rows(&mut self, family: &Family, range: Range, reverse: bool) -> Cursor {
        self.cursor(family, range, reverse).expect("a cursor")
    }
}

struct Session<'a> {
    stage: &'a Stage<'a>,
    number: u32,
    random: Random,
    history: History,
    appended: u32,
    groups: Numbers<u64>,
}

impl<'a> Session<'a> {
    fn new(stage: &'a Stage<'a>, number: u32) -> Session<'a> {
        let random = Random(u64::from(number) + 1000);
        Session { stage, number, random, history: History::default(), appended: 0, groups: 0..GROUPS }
    }

    fn run(mut self) -> History {
        let stage = self.stage;
        if stage.setup.clock {
            unrest::hold_up(self.number.into());
        }
        while stage.commits.load(Ordering::Relaxed) < stage.setup.commits {
            let newest = stage.newest();
            self.groups = newest..newest + GROUPS;
            stage.oldest[self.number as usize].store(newest, Ordering::Relaxed);
            let (began, appended) = (stage.tick(), self.appended);
            let committed = match self.random.below(16) {
                0 => self.read_once(),
                1 | 2 => self.read_snapshot(),
                _ => self.transact(),
            };
            self.history.end(self.number, began, stage.tick(), committed);
            if committed {
                stage.commits.fetch_add(1, Ordering::Relaxed);
                stage.appends.fetch_add(u64::from(self.appended - appended), Ordering::Relaxed);
            }
        }
        self.history
    }

    fn element(&mut self) -> Element {
        self.appended += 1;
        self.appended * self.stage.setup.sessions + self.number
    }

    fn group(&mut self) -> u32 {
        (self.groups.start + self.random.below(self.groups.end - self.groups.start)) as u32
    }

    fn key(&mut self) -> u32 {
        self.group() * KEYS_IN_GROUP + self.random.below(KEYS_IN_GROUP.into()) as u32
    }

    /// Lets others in between, now and then.
    fn pause(&mut self) {
        if self.random.one_in(6) {
            thread::yield_now();
        }
    }

    /// A read outside of any transaction is one by itself. Not finding the list tells nothing: it may have moved meanwhile.
    fn read_once(&mut self) -> bool {
        let key = self.key();
        let family = &self.stage.families[self.random.below(2) as usize];
        if let Some(list) = family.get(&key_bytes(key), decode).expect("a read") {
            self.history.read(key, list);
        }
        true
    }

    fn read_snapshot(&mut self) -> bool {
        let mut snapshot = self.stage.database.snapshot().expect("a snapshot");
        self.pause();
        if self.random.one_in(2) {
            let keys: Vec<u32> = (0..4).map(|_| self.key()).collect();
            if self.random.one_in(2) {
                self.read(&mut snapshot, keys[0]);
                self.pause();
            }
            let bytes: Vec<[u8; 6]> = keys.iter().map(|key| key_bytes(*key)).collect();
            let bytes: Vec<&[u8]> = bytes.iter().map(|bytes| bytes.as_slice()).collect();
            let [first, second] = [0, 1].map(|family| multi_get(&snapshot, &self.stage.families[family], &bytes));
            for ((key, first), second) in keys.into_iter().zip(first).zip(second) {
                assert!(first.is_none() || second.is_none(), "a list stands in both families");
                self.history.read(key, first.or(second).map(|value| decode(&value)).unwrap_or_default());
            }
        } else {
            self.scan(&mut snapshot);
        }
        true
    }

    /// Reads the list in one family and then, unless that is enough, in the other.
    fn read(&mut self, view: &mut impl View, key: u32) -> (Vec<Element>, Place) {
        let bytes = key_bytes(key);
        let first = self.random.below(2) as usize;
        let mut found = (Vec::new(), None);
        for place in [first, 1 - first] {
            if let Some(list) = view.list(&self.stage.families[place], &bytes) {
                assert!(found.1.is_none(), "a list stands in both families");
                found = (list, Some(place));
                if !self.random.one_in(4) {
                    break;
                }
            }
        }
        self.history.read(key, found.0.iter().copied());
        found
    }

    /// Reads all lists of a group, those that are not there among them.
    fn scan(&mut self, view: &mut impl View) -> (u32, Vec<(Vec<Element>, Place)>) {
        let group = self.group();
        let lists = self.scan_group(view, group);
        (group, lists)
    }

    fn scan_group(&mut self, view: &mut impl View, group: u32) -> Vec<(Vec<Element>, Place)> {
        let mut lists = vec![(Vec::new(), None); KEYS_IN_GROUP as usize];
        for (place, family) in self.stage.families.iter().enumerate() {
            let reverse = self.random.one_in(2);
            let mut cursor = view.rows(family, Range::prefix(&group_prefix(group)), reverse);
            let limit = 1 + self.random.below(8) as usize;
            loop {
                let mut rows = Rows::default();
                let fetched = cursor.fetch(Columns::Both, limit, usize::MAX / 2, true, &mut rows).expect("rows");
                for row in 0..rows.len() {
                    let list = &mut lists[usize::from(rows.key(row)[5])];
                    assert!(list.1.is_none(), "a list stands in both families");
                    *list = (decode(rows.value(row)), Some(place));
                }
                if fetched == Fetched::Done {
                    break;
                }
                self.pause();
            }
        }
        for (index, (list, _)) in lists.iter().enumerate() {
            self.history.read(group * KEYS_IN_GROUP + index as u32, list.iter().copied());
        }
        lists
    }

    fn begin(&mut self) -> Transaction {
        let timeout = self.random.one_in(8).then_some(Duration::from_secs(3600));
        self.stage.database.begin(self.stage.setup.serializable, timeout).expect("a transaction")
    }

    /// A transaction of any kind; whether it was committed.
    fn transact(&mut self) -> bool {
        let mut transaction = self.begin();
        match self.random.below(16) {
            0 => self.move_group(&mut transaction),
            1 | 2 => drop(self.scan(&mut transaction)),
            _ => {}
        }
        let operations = 1 + self.random.below(4);
        let reads_only = self.random.one_in(6);
        for _ in 0..operations {
            self.pause();
            let key = self.key();
            let (list, place) = self.read(&mut transaction, key);
            if reads_only || self.random.one_in(2) {
                continue;
            }
            if self.random.one_in(16) {
                self.take_back(&mut transaction, key, &list, place);
            } else {
                self.append(&mut transaction, key, list, place);
            }
        }
        self.pause();
        if self.random.one_in(24) {
            // Dropped or rolled back, it is the same.
            if self.random.one_in(2) {
                transaction.rollback().expect("it is open");
            }
            return false;
        }
        match transaction.commit() {
            Ok(()) => true,
            Err(Error::Conflict { .. }) => {
                self.stage.conflicts.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn append(&mut self, transaction: &mut Transaction, key: u32, mut list: Vec<Element>, place: Place) {
        let element = self.element();
        list.push(element);
        self.history.append(key, element);
        let moves = place.is_some() && self.random.one_in(2);
        let to = place.map_or(home(key), |place| if moves { 1 - place } else { place });
        let padding = if self.random.one_in(32) { 600 } else { self.random.below(40) as usize };
        let families = &self.stage.families;
        if moves {
            assert!(transaction.delete(&families[1 - to], &key_bytes(key)).expect("a deletion"));
        }
        transaction.put(&families[to], &key_bytes(key), &encode(&list, padding), None).expect("a put");
    }

    /// Appends and goes back to a savepoint: nobody ever reads that element.
    fn take_back(&mut self, transaction: &mut Transaction, key: u32, list: &[Element], place: Place) {
        let before = self.history.operations.len();
        let savepoint = transaction.savepoint().expect("a savepoint");
        self.append(transaction, key, list.to_vec(), place);
        self.history.take_back(before);
        transaction.rollback_to(savepoint).expect("it is open");
        transaction.release(savepoint).expect("it is open");
        self.read(transaction, key);
    }

    /// Deletes a group from both families as a range, and puts its lists into others, with an element more each.
    fn move_group(&mut self, transaction: &mut Transaction) {
        let (group, lists) = self.scan(transaction);
        if lists.iter().all(|(list, _)| list.is_empty()) {
            return;
        }
        let prefix = group_prefix(group);
        let stop = [&prefix[..4], b"0"].concat();
        for (place, family) in self.stage.families.iter().enumerate() {
            let deleted = transaction.delete_range(family, Some(&prefix), Some(&stop)).expect("a deletion");
            assert_eq!(deleted, lists.iter().filter(|(_, at)| *at == Some(place)).count() as u64);
        }
        for (index, (mut list, place)) in lists.into_iter().enumerate().filter(|(_, (_, place))| place.is_some()) {
            let key = group * KEYS_IN_GROUP + index as u32;
            let element = self.element();
            list.push(element);
            self.history.append(key, element);
            let to = if self.random.one_in(2) { 1 - place.unwrap_or_default() } else { place.unwrap_or_default() };
            transaction.put(&self.stage.families[to], &key_bytes(key), &encode(&list, 0), None).expect("a put");
        }
    }

    /// What is there in the end.
    fn read_all(&mut self, groups: Numbers<u64>) {
        let began = self.stage.tick();
        let mut snapshot = self.stage.database.snapshot().expect("a snapshot");
        for group in groups {
            self.scan_group(&mut snapshot, group as u32);
        }
        self.history.end(self.number, began, self.stage.tick(), true);
    }
}
