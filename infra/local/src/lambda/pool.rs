//! The instances of one function, and who waits for one. Each takes one event at a time, as in Lambda.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use super::Failed;

/// What comes of an invocation.
pub type Outcome = Result<Bytes, Failed>;

/// An event on its way to an instance.
#[derive(Debug)]
pub struct Handed {
    /// Lambda's id of the invocation.
    pub id: String,
    pub event: Bytes,
    /// When the instance is given up.
    pub deadline: SystemTime,
}

/// The instances.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    state: Mutex<State>,
    /// Moves whenever an instance came up or ended.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    instances: BTreeMap<u64, Instance>,
    started: u64,
    /// Of the program: it moves when there is a new one.
    generation: u64,
    /// The newest generation of which an instance came up.
    up: u64,
    /// Instances of the newest generation that run or are about to.
    expected: usize,
    endings: u64,
}

#[derive(Debug)]
struct Waiting {
    handed: Handed,
    limit: Duration,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Instance {
    generation: u64,
    /// It has asked for an event before.
    is_up: bool,
    /// It takes no more events.
    is_retired: bool,
    asks: Option<oneshot::Sender<Handed>>,
    busy: Option<Busy>,
    stop: Arc<Notify>,
}

#[derive(Debug)]
struct Busy {
    id: String,
    since: Instant,
    answer: oneshot::Sender<Outcome>,
}

impl Pool {
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), state: Mutex::default(), moved: watch::Sender::new(0) }
    }

    /// Hands an event to an instance that is free, or lets it wait for one.
    ///
    /// # Errors
    /// No instance is up: nothing could take it, and the caller is not kept waiting.
    pub fn invoke(&self, id: &str, event: Bytes, limit: Duration) -> Result<oneshot::Receiver<Outcome>, Failed> {
        let mut state = self.state();
        if !state.instances.values().any(|instance| instance.is_up) {
            return Err(Failed::Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        let handed = Handed { id: id.to_owned(), event, deadline: SystemTime::now() + limit };
        state.waiting.push_back(Waiting { handed, limit, answer });
        state.hand_out();
        Ok(answered)
    }

    /// Whether more instances would be of use and may be started; of which generation.
    pub fn wants_more(&self) -> Option<u64> {
        let state = self.state();
        (!state.waiting.is_empty() && state.expected < self.limit).then_some(state.generation)
    }

    /// There is a new program; from its first instance on it replaces the old one.
    pub fn new_generation(&self) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        state.expected = 0;
        state.generation
    }

    /// An instance is about to be started.
    pub fn expect_one(&self, generation: u64) {
        let mut state = self.state();
        state.expected += usize::from(state.generation == generation);
    }

    /// An instance that was expected will not be started, or not again.
    pub fn expect_one_less(&self, generation: u64) {
        let mut state = self.state();
        state.expected = state.expected.saturating_sub(usize::from(state.generation == generation));
    }

    /// Whether instances of this generation still have a purpose: the newest, and until one of it is up, the last that was.
    pub fn is_current(&self, generation: u64) -> bool {
        let state = self.state();
        [state.generation, state.up].contains(&generation)
    }

    /// Notes a process that is about to run. Returns its number, and what tells its keeper to end it.
    pub fn add(&self, generation: u64) -> (u64, Arc<Notify>) {
        let mut state = self.state();
        state.started += 1;
        let (number, stop) = (state.started, Arc::new(Notify::new()));
        let instance =
            Instance { generation, is_up: false, is_retired: false, asks: None, busy: None, stop: Arc::clone(&stop) };
        state.instances.insert(number, instance);
        (number, stop)
    }

    /// An instance asks for its next event. `None` when there is no such instance.
    pub fn next(&self, number: u64) -> Option<oneshot::Receiver<Handed>> {
        let mut state = self.state();
        let (ask, asked) = oneshot::channel();
        let instance = state.instances.get_mut(&number)?;
        instance.fail("it asked for another event before it had answered");
        instance.asks = Some(ask);
        if instance.is_retired {
            // It waits for nothing until it is ended.
            instance.stop.notify_one();
            return Some(asked);
        }
        let (was_up, generation) = (std::mem::replace(&mut instance.is_up, true), instance.generation);
        if !was_up {
            state.came_up(generation);
            self.moved.send_modify(|count| *count += 1);
        }
        state.hand_out();
        Some(asked)
    }

    /// An instance has answered the invocation with this id.
    pub fn settle(&self, number: u64, id: &str, outcome: Outcome) {
        let mut state = self.state();
        let Some(instance) = state.instances.get_mut(&number) else { return };
        if let Some(busy) = instance.busy.take_if(|busy| busy.id == id) {
            let _ = busy.answer.send(outcome);
        }
    }

    /// An instance has ended. Returns whether it was meant to.
    pub fn gone(&self, number: u64, how: &str) -> bool {
        let mut state = self.state();
        state.endings += 1;
        let was_retired = state.instances.remove(&number).is_none_or(|mut instance| {
            instance.fail(how);
            instance.is_retired
        });
        if !state.instances.values().any(|instance| instance.is_up) {
            state.waiting.drain(..).for_each(|waiting| drop(waiting.answer.send(Err(Failed::Unavailable))));
        }
        self.moved.send_modify(|count| *count += 1);
        was_retired
    }

    /// Nobody waits for this invocation any longer: instances that are overdue are ended, to be replaced.
    pub fn give_up(&self, id: &str, limit: Duration) {
        let mut state = self.state();
        state.waiting.retain(|waiting| waiting.handed.id != id);
        let is_overdue = |instance: &&Instance| {
            instance.busy.as_ref().is_some_and(|busy| busy.id == id || busy.since.elapsed() > limit)
        };
        state.instances.values().filter(is_overdue).for_each(|instance| instance.stop.notify_one());
    }

    /// How many instances have ended so far.
    pub fn endings(&self) -> u64 {
        self.state().endings
    }

    /// Waits until an instance of this generation is up. False when one has ended since there were `before`.
    pub async fn is_up(&self, generation: u64, before: u64) -> bool {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            {
                let state = self.state();
                if state.up >= generation {
                    return true;
                }
                if state.endings > before {
                    return false;
                }
            }
            if moved.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until any instance is up.
    pub async fn until_up(&self) {
        let mut moved = self.moved.subscribe();
        while !self.state().instances.values().any(|instance| instance.is_up) {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands what waits to those who ask, the longest waiting first.
    fn hand_out(&mut self) {
        let mut asking = self.instances.values_mut().filter(|one| one.asks.is_some() && !one.is_retired);
        while let Some(waiting) = self.waiting.pop_front() {
            // Whoever asked for it may have gone.
            if waiting.answer.is_closed() {
                continue;
            }
            let Some(instance) = asking.next() else { return self.waiting.push_front(waiting) };
            let Some(ask) = instance.asks.take() else { continue };
            let id = waiting.handed.id.clone();
            let handed = Handed { deadline: SystemTime::now() + waiting.limit, ..waiting.handed };
            match ask.send(handed) {
                Ok(()) => instance.busy = Some(Busy { id, since: Instant::now(), answer: waiting.answer }),
                // The connection it asked by is gone; it will ask again, or end.
                Err(handed) => {
                    self.waiting.push_front(Waiting { handed, limit: waiting.limit, answer: waiting.answer });
                }
            }
        }
    }

    /// The first instance of a generation is up: older ones answer what they have, and are then ended.
    fn came_up(&mut self, generation: u64) {
        self.up = self.up.max(generation);
        for older in self.instances.values_mut().filter(|instance| instance.generation < generation) {
            older.is_retired = true;
            if older.busy.is_none() {
                older.stop.notify_one();
            }
        }
    }
}

impl Instance {
    fn fail(&mut self, how: &str) {
        if let Some(busy) = self.busy.take() {
            let _ = busy.answer.send(Err(Failed::Ended(how.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(9);

    fn up(pool: &Pool) -> (u64, oneshot::Receiver<Handed>) {
        let generation = pool.state().generation;
        let (number, _) = pool.add(generation);
        let asked = pool.next(number).unwrap();
        (number, asked)
    }

    fn invoke(pool: &Pool, id: &str) -> Result<oneshot::Receiver<Outcome>, Failed> {
        pool.invoke(id, Bytes::new(), LIMIT)
    }

    #[test]
    fn without_an_instance_a_call_is_refused_at_once_and_with_one_it_waits_its_turn() {
        let pool = Pool::new(1);
        assert_eq!(invoke(&pool, "early").unwrap_err(), Failed::Unavailable);
        let (number, mut asked) = up(&pool);
        let (mut first, mut second) = (invoke(&pool, "1").unwrap(), invoke(&pool, "2").unwrap());
        assert_eq!(asked.try_recv().unwrap().id, "1");
        pool.settle(number, "2", Ok("not its own".into()));
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        pool.settle(number, "1", Ok("one".into()));
        assert_eq!(first.try_recv().unwrap(), Ok("one".into()));
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "2");
    }

    #[test]
    fn an_instance_that_ends_fails_its_own_call_and_with_the_last_one_those_that_wait() {
        let pool = Pool::new(2);
        let ((one, _asks), (other, _also)) = (up(&pool), up(&pool));
        let mut calls = ["1", "2", "3"].map(|id| invoke(&pool, id).unwrap());
        assert!(!pool.gone(one, "killed"));
        assert_eq!(calls[0].try_recv().unwrap(), Err(Failed::Ended("killed".into())));
        assert!(calls[1].try_recv().is_err() && calls[2].try_recv().is_err(), "the other one still runs");
        assert!(!pool.gone(other, "killed"));
        assert_eq!(calls[1].try_recv().unwrap(), Err(Failed::Ended("killed".into())));
        assert_eq!(calls[2].try_recv().unwrap(), Err(Failed::Unavailable));
        assert_eq!(invoke(&pool, "4").unwrap_err(), Failed::Unavailable);
        assert!(pool.next(one).is_none(), "who has ended gets nothing");
    }

    #[test]
    fn an_event_is_not_lost_to_a_connection_that_is_gone() {
        let pool = Pool::new(1);
        let (number, asked) = up(&pool);
        drop(asked);
        let _call = invoke(&pool, "1").unwrap();
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "1");
        drop(invoke(&pool, "2").unwrap());
        let _third = invoke(&pool, "3").unwrap();
        pool.settle(number, "1", Ok(Bytes::new()));
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "3", "nobody waits for the second any more");
    }

    #[test]
    fn more_instances_are_wanted_while_calls_wait_and_up_to_the_limit() {
        let pool = Pool::new(2);
        pool.expect_one(pool.new_generation());
        let (_, _asked) = up(&pool);
        let _one = invoke(&pool, "1").unwrap();
        assert_eq!(pool.wants_more(), None, "nobody waits");
        let _two = invoke(&pool, "2").unwrap();
        assert_eq!(pool.wants_more(), Some(1));
        pool.expect_one(1);
        assert_eq!(pool.wants_more(), None, "that is the limit");
    }

    #[test]
    fn a_new_program_takes_over_when_it_is_up_and_the_old_one_answers_what_it_has() {
        let pool = Pool::new(2);
        pool.new_generation();
        let ((busy, _asked), (idle, _waits)) = (up(&pool), up(&pool));
        let mut call = invoke(&pool, "1").unwrap();
        let generation = pool.new_generation();
        let mut also = invoke(&pool, "2").unwrap();
        pool.settle(idle, "2", Ok("old".into()));
        assert_eq!(also.try_recv().unwrap(), Ok("old".into()), "until the new one is up the old one serves");
        let _idle_again = pool.next(idle).unwrap();
        let (number, mut asked) = up(&pool);
        assert!(pool.is_current(generation));
        let _third = invoke(&pool, "3").unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "3");
        pool.settle(busy, "1", Ok("old".into()));
        assert_eq!(call.try_recv().unwrap(), Ok("old".into()));
        assert!(pool.next(busy).unwrap().try_recv().is_err());
        assert!(pool.gone(busy, "") && pool.gone(idle, ""), "both were meant to end");
        assert!(!pool.gone(number, "killed"));
    }
}
