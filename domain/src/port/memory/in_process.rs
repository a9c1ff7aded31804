//! The memory that needs no service, and ends with the process.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Memory, MemoryError};

/// What a key costs beside itself and what it holds: its bookkeeping, roughly.
const KEY_BYTES: usize = 256;
/// What a member costs beside its own bytes.
const MEMBER_BYTES: usize = 64;

/// Keeps everything in memory, up to a number of bytes; once they are full, nothing more is taken in.
pub struct InProcessMemory {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// When which of them ends.
    ends: BTreeSet<(Instant, String)>,
    bytes: usize,
}

struct Entry {
    ends: Instant,
    held: Held,
    bytes: usize,
}

enum Held {
    Value(Bytes),
    Set(HashSet<Bytes>),
    Ranking(HashMap<Bytes, f64>),
}

impl InProcessMemory {
    /// An empty memory for at most so many bytes, keys and bookkeeping included.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::default() }
    }

    /// Does something at one moment, when what has ended is gone.
    fn now<T>(&self, act: impl FnOnce(&mut State, Instant) -> Result<T, MemoryError>) -> Result<T, MemoryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some((ends, _)) = state.ends.first()
            && *ends <= now
            && let Some((_, key)) = state.ends.pop_first()
        {
            if let Some(entry) = state.entries.remove(&key) {
                state.bytes -= entry.bytes;
            }
        }
        act(&mut state, now)
    }

    /// Changes what a key holds about a member, unless it would be too much then, and lets its life be this long from
    /// now on. The change tells whether the member is a new one.
    fn put<T>(
        &self,
        key: &str,
        member: &[u8],
        life: Duration,
        empty: fn() -> Held,
        change: impl FnOnce(&mut Held, Bytes) -> Result<(bool, T), MemoryError>,
    ) -> Result<T, MemoryError> {
        let member = Bytes::copy_from_slice(member);
        let more = MEMBER_BYTES + member.len();
        self.now(|state, now| {
            let is_new = !state.entries.contains_key(key);
            if state.bytes + more + if is_new { size(key, 0) } else { 0 } > self.max_bytes {
                return Err(MemoryError::Full);
            }
            let new = || Entry { ends: now, held: empty(), bytes: size(key, 0) };
            let mut entry = state.remove(key).unwrap_or_else(new);
            let changed = change(&mut entry.held, member);
            if let Ok((grew, _)) = &changed {
                entry.bytes += if *grew { more } else { 0 };
                entry.ends = now + life.min(FOR_EVER);
            }
            if changed.is_ok() || !is_new {
                state.insert(key, entry);
            }
            changed.map(|(_, answer)| answer)
        })
    }
}

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl State {
    fn insert(&mut self, key: &str, entry: Entry) {
        self.bytes += entry.bytes;
        self.ends.insert((entry.ends, key.to_owned()));
        self.entries.insert(key.to_owned(), entry);
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= entry.bytes;
        self.ends.remove(&(entry.ends, key));
        Some(entry)
    }

    fn set(&mut self, key: &str) -> Result<Option<&mut HashSet<Bytes>>, MemoryError> {
        self.entries.get_mut(key).map(|entry| entry.held.set()).transpose()
    }

    fn ranking(&mut self, key: &str) -> Result<Option<&mut HashMap<Bytes, f64>>, MemoryError> {
        self.entries.get_mut(key).map(|entry| entry.held.ranking()).transpose()
    }

    /// Takes members away that are there; a key that holds none is none.
    fn take_members(&mut self, key: &str, gone: &[Bytes]) {
        let Some(mut entry) = self.remove(key) else { return };
        let is_empty = match &mut entry.held {
            Held::Value(_) => false,
            Held::Set(members) => {
                gone.iter().for_each(|member| _ = members.remove(member));
                members.is_empty()
            }
            Held::Ranking(members) => {
                gone.iter().for_each(|member| _ = members.remove(member));
                members.is_empty()
            }
        };
        entry.bytes -= gone.iter().map(|member| MEMBER_BYTES + member.len()).sum::<usize>();
        if !is_empty {
            self.insert(key, entry);
        }
    }
}

impl Held {
    fn set(&mut self) -> Result<&mut HashSet<Bytes>, MemoryError> {
        if let Self::Set(members) = self { Ok(members) } else { Err(MemoryError::Unexpected) }
    }

    fn ranking(&mut self) -> Result<&mut HashMap<Bytes, f64>, MemoryError> {
        if let Self::Ranking(members) = self { Ok(members) } else { Err(MemoryError::Unexpected) }
    }
}

fn size(key: &str, held: usize) -> usize {
    KEY_BYTES + 2 * key.len() + held
}

/// The order of a ranking.
fn order(a: (&Bytes, f64), b: (&Bytes, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0))
}

fn ordered(members: &HashMap<Bytes, f64>) -> Vec<(Bytes, f64)> {
    let mut ordered = members.iter().map(|(member, score)| (member.clone(), *score)).collect::<Vec<_>>();
    ordered.sort_unstable_by(|a, b| order((&a.0, a.1), (&b.0, b.1)));
    ordered
}

/// Zero has two signs, which do not tell members apart.
fn score(score: f64) -> Result<f64, MemoryError> {
    if score.is_nan() { Err(MemoryError::Unexpected) } else { Ok(score + 0.0) }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn index(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[async_trait]
impl Memory for InProcessMemory {
    async fn set(&self, key: &str, value: Bytes, life: Duration) -> Result<(), MemoryError> {
        self.now(|state, now| {
            let before = state.entries.get(key).map_or(0, |entry| entry.bytes);
            let bytes = size(key, value.len());
            if state.bytes - before + bytes > self.max_bytes {
                return Err(MemoryError::Full);
            }
            state.remove(key);
            state.insert(key, Entry { ends: now + life.min(FOR_EVER), held: Held::Value(value), bytes });
            Ok(())
        })
    }

    async fn look_up(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, MemoryError> {
        self.now(|state, _| {
            let values = keys.iter().map(|key| match state.entries.get(key).map(|entry| &entry.held) {
                Some(Held::Value(value)) => Some(value.clone()),
                // As of several keys at once in Redis, what is no value is none.
                Some(_) | None => None,
            });
            Ok(values.collect())
        })
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, MemoryError> {
        self.now(|state, _| match state.entries.get(key).map(|entry| &entry.held) {
            None => Ok(None),
            Some(Held::Value(value)) => {
                let value = value.clone();
                state.remove(key);
                Ok(Some(value))
            }
            Some(_) => Err(MemoryError::Unexpected),
        })
    }

    async fn prolong(&self, key: &str, life: Duration) -> Result<bool, MemoryError> {
        self.now(|state, now| {
            let Some(entry) = state.remove(key) else { return Ok(false) };
            state.insert(key, Entry { ends: now + life.min(FOR_EVER), ..entry });
            Ok(true)
        })
    }

    async fn delete(&self, key: &str) -> Result<bool, MemoryError> {
        self.now(|state, _| Ok(state.remove(key).is_some()))
    }

    async fn add(&self, key: &str, member: &[u8], life: Duration) -> Result<bool, MemoryError> {
        self.put(
            key,
            member,
            life,
            || Held::Set(HashSet::new()),
            |held, member| {
                let is_new = held.set()?.insert(member);
                Ok((is_new, is_new))
            },
        )
    }

    async fn remove(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.now(|state, _| {
            let Some(members) = state.set(key)? else { return Ok(false) };
            let Some(member) = members.get(member).cloned() else { return Ok(false) };
            state.take_members(key, &[member]);
            Ok(true)
        })
    }

    async fn contains(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.now(|state, _| Ok(state.set(key)?.is_some_and(|members| members.contains(member))))
    }

    async fn members(&self, key: &str) -> Result<Vec<Bytes>, MemoryError> {
        self.now(|state, _| Ok(state.set(key)?.map(|members| members.iter().cloned().collect()).unwrap_or_default()))
    }

    async fn rank(&self, key: &str, member: &[u8], points: f64, life: Duration) -> Result<(), MemoryError> {
        let points = score(points)?;
        self.put(
            key,
            member,
            life,
            || Held::Ranking(HashMap::new()),
            |held, member| {
                let before = held.ranking()?.insert(member, points);
                Ok((before.is_none(), ()))
            },
        )
    }

    async fn increase(&self, key: &str, member: &[u8], by: f64, life: Duration) -> Result<f64, MemoryError> {
        self.put(
            key,
            member,
            life,
            || Held::Ranking(HashMap::new()),
            |held, member| {
                let members = held.ranking()?;
                let increased = score(members.get(&member).copied().unwrap_or(0.0) + by)?;
                Ok((members.insert(member, increased).is_none(), increased))
            },
        )
    }

    async fn unrank(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.now(|state, _| {
            let Some(members) = state.ranking(key)? else { return Ok(false) };
            let Some((member, _)) = members.get_key_value(member) else { return Ok(false) };
            let member = member.clone();
            state.take_members(key, &[member]);
            Ok(true)
        })
    }

    async fn standing(&self, key: &str, member: &[u8]) -> Result<Option<(u64, f64)>, MemoryError> {
        self.now(|state, _| {
            let Some(members) = state.ranking(key)? else { return Ok(None) };
            let Some((member, points)) = members.get_key_value(member) else { return Ok(None) };
            let is_before = |other: &(&Bytes, &f64)| order((other.0, *other.1), (member, *points)) == Ordering::Less;
            Ok(Some((count(members.iter().filter(is_before).count()), *points)))
        })
    }

    async fn range(&self, key: &str, skip: u64, count: u64) -> Result<Vec<(Bytes, f64)>, MemoryError> {
        self.now(|state, _| {
            let ordered = state.ranking(key)?.map_or_else(Vec::new, |members| ordered(members));
            Ok(ordered.into_iter().skip(index(skip)).take(index(count)).collect())
        })
    }

    async fn trim(&self, key: &str, keep: u64) -> Result<u64, MemoryError> {
        self.now(|state, _| {
            let Some(members) = state.ranking(key)? else { return Ok(0) };
            let gone = ordered(members).into_iter().skip(index(keep)).map(|(member, _)| member).collect::<Vec<_>>();
            state.take_members(key, &gone);
            Ok(count(gone.len()))
        })
    }

    async fn trim_below(&self, key: &str, least: f64) -> Result<u64, MemoryError> {
        self.now(|state, _| {
            let Some(members) = state.ranking(key)? else { return Ok(0) };
            let gone = members.iter().filter(|(_, points)| **points < least).map(|(member, _)| member.clone());
            let gone = gone.collect::<Vec<_>>();
            state.take_members(key, &gone);
            Ok(count(gone.len()))
        })
    }
}
