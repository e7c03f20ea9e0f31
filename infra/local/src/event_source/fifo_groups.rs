//! Locks on FIFO message groups, for queues of an external endpoint that may deliver the next message of a group while an
//! earlier one is in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Locks a message group while one of its messages is in flight or waits for its retry.
#[derive(Debug, Default)]
pub struct FifoGroupLocks {
    locks: Mutex<BTreeMap<String, GroupLock>>,
}

#[derive(Debug, Clone)]
struct GroupLock {
    /// Id of the only message of the group that may be delivered.
    message: String,
    /// When the lock expires, in milliseconds since the Unix epoch.
    until: u64,
}

/// Messages of locked and of unlocked groups.
pub struct LockResult {
    /// Messages that may be delivered. Their groups are locked now.
    pub locked: Vec<Value>,
    /// Messages of groups that were locked already, each with the time the lock expires.
    pub rejected: Vec<(Value, u64)>,
}

impl FifoGroupLocks {
    /// Locks the groups of these messages until `until`.
    pub fn lock(&self, messages: Vec<Value>, now: u64, until: u64) -> LockResult {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.until > now);
        let mut result = LockResult { locked: Vec::new(), rejected: Vec::new() };
        let mut locked_now = BTreeSet::new();
        for message in messages {
            let group = group_of(&message).to_owned();
            match locks.get(&group) {
                Some(lock) if !locked_now.contains(&group) && lock.message != id_of(&message) => {
                    result.rejected.push((message, lock.until));
                }
                _ => {
                    locks.insert(group.clone(), GroupLock { message: id_of(&message).to_owned(), until });
                    locked_now.insert(group);
                    result.locked.push(message);
                }
            }
        }
        result
    }

    /// Unlocks the groups of `done`. The groups of `failed` stay locked for all messages but the first failed one.
    pub fn release(&self, failed: &[Value], done: &[Value], until: u64) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        for message in done {
            locks.remove(group_of(message));
        }
        for message in failed.iter().rev() {
            locks.insert(group_of(message).to_owned(), GroupLock { message: id_of(message).to_owned(), until });
        }
    }
}

fn group_of(message: &Value) -> &str {
    message.pointer("/Attributes/MessageGroupId").and_then(Value::as_str).unwrap_or_default()
}

fn id_of(message: &Value) -> &str {
    message.get("MessageId").and_then(Value::as_str).unwrap_or_default()
}
