//! The execution environments of one function, and the invocations that wait for one. An execution environment runs one
//! invocation at a time, as in Lambda.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use super::invocation::{InvokeError, InvokeResult};

/// An invocation as an execution environment receives it.
#[derive(Debug)]
pub struct Invocation {
    /// Lambda's id of the invocation.
    pub id: String,
    pub event: Bytes,
    /// When the execution environment is stopped if it has not responded.
    pub deadline: SystemTime,
}

/// The execution environments of one function.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    state: Mutex<PoolState>,
    /// Changes whenever an execution environment becomes ready or exits.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct PoolState {
    queued: VecDeque<QueuedInvocation>,
    environments: BTreeMap<u64, Environment>,
    /// Number of processes started so far.
    started: u64,
    /// Generation of the newest program.
    generation: u64,
    /// The newest generation with an execution environment that became ready.
    ready_generation: u64,
    /// Execution environments of the newest generation that run or will be started.
    planned: usize,
    /// Number of processes that have exited so far.
    exits: u64,
}

#[derive(Debug)]
struct QueuedInvocation {
    invocation: Invocation,
    limit: Duration,
    response: oneshot::Sender<InvokeResult>,
}

/// One execution environment.
#[derive(Debug)]
struct Environment {
    generation: u64,
    /// Whether it has requested its first event.
    is_ready: bool,
    /// Whether it receives no more events because its program was replaced.
    is_retired: bool,
    /// Where its open request for the next event gets its response.
    next_request: Option<oneshot::Sender<Invocation>>,
    active: Option<ActiveInvocation>,
    /// Stops the process.
    stop: Arc<Notify>,
}

#[derive(Debug)]
struct ActiveInvocation {
    id: String,
    since: Instant,
    response: oneshot::Sender<InvokeResult>,
}

impl Pool {
    /// A pool of up to `limit` execution environments.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Passes an event to a free execution environment, or queues it until one is free.
    ///
    /// # Errors
    /// [`InvokeError::Unavailable`] when no execution environment is ready.
    pub fn invoke(
        &self,
        id: &str,
        event: Bytes,
        limit: Duration,
    ) -> Result<oneshot::Receiver<InvokeResult>, InvokeError> {
        let mut state = self.state();
        if !state.environments.values().any(|environment| environment.is_ready) {
            return Err(InvokeError::Unavailable);
        }
        let (response, result) = oneshot::channel();
        let invocation = Invocation { id: id.to_owned(), event, deadline: SystemTime::now() + limit };
        state.queued.push_back(QueuedInvocation { invocation, limit, response });
        state.dispatch();
        Ok(result)
    }

    /// The generation of which another execution environment should be started; `None` when none is needed or allowed.
    pub fn needs_another(&self) -> Option<u64> {
        let state = self.state();
        (!state.queued.is_empty() && state.planned < self.limit).then_some(state.generation)
    }

    /// Begins a new generation: the function's program has changed. The new program replaces the old one as soon as its first
    /// execution environment is ready.
    pub fn new_generation(&self) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        state.planned = 0;
        state.generation
    }

    /// Counts an execution environment that will be started.
    pub fn plan_one(&self, generation: u64) {
        let mut state = self.state();
        state.planned += usize::from(state.generation == generation);
    }

    /// Uncounts an execution environment that will not be started again.
    pub fn unplan_one(&self, generation: u64) {
        let mut state = self.state();
        state.planned = state.planned.saturating_sub(usize::from(state.generation == generation));
    }

    /// Whether execution environments of this generation are still needed: it is the newest one, or the newest one that is ready.
    pub fn is_current(&self, generation: u64) -> bool {
        let state = self.state();
        [state.generation, state.ready_generation].contains(&generation)
    }

    /// Adds a process that will be started. Returns its number, and the notification that stops it.
    pub fn add(&self, generation: u64) -> (u64, Arc<Notify>) {
        let mut state = self.state();
        state.started += 1;
        let (number, stop) = (state.started, Arc::new(Notify::new()));
        let environment = Environment {
            generation,
            is_ready: false,
            is_retired: false,
            next_request: None,
            active: None,
            stop: Arc::clone(&stop),
        };
        state.environments.insert(number, environment);
        (number, stop)
    }

    /// Handles an execution environment's request for its next event. `None` when there is no such execution environment.
    pub fn next(&self, number: u64) -> Option<oneshot::Receiver<Invocation>> {
        let mut state = self.state();
        let (request, event) = oneshot::channel();
        let environment = state.environments.get_mut(&number)?;
        environment.fail("it requested the next event before it responded");
        environment.next_request = Some(request);
        if environment.is_retired {
            // It receives no event and is stopped.
            environment.stop.notify_one();
            return Some(event);
        }
        let (was_ready, generation) = (std::mem::replace(&mut environment.is_ready, true), environment.generation);
        if !was_ready {
            state.became_ready(generation);
            self.changed.send_modify(|count| *count += 1);
        }
        state.dispatch();
        Some(event)
    }

    /// Completes the invocation with this id.
    pub fn complete(&self, number: u64, id: &str, result: InvokeResult) {
        let mut state = self.state();
        let Some(environment) = state.environments.get_mut(&number) else { return };
        if let Some(active) = environment.active.take_if(|active| active.id == id) {
            let _ = active.response.send(result);
        }
    }

    /// Removes a process that has exited. Returns whether it was stopped on purpose.
    pub fn remove(&self, number: u64, how: &str) -> bool {
        let mut state = self.state();
        state.exits += 1;
        let was_retired = state.environments.remove(&number).is_none_or(|mut environment| {
            environment.fail(how);
            environment.is_retired
        });
        if !state.environments.values().any(|environment| environment.is_ready) {
            state.queued.drain(..).for_each(|queued| drop(queued.response.send(Err(InvokeError::Unavailable))));
        }
        self.changed.send_modify(|count| *count += 1);
        was_retired
    }

    /// Removes an invocation whose caller no longer waits, and stops the execution environments that exceeded the limit.
    pub fn abandon(&self, id: &str, limit: Duration) {
        let mut state = self.state();
        state.queued.retain(|queued| queued.invocation.id != id);
        let is_overdue = |environment: &&Environment| {
            environment.active.as_ref().is_some_and(|active| active.id == id || active.since.elapsed() > limit)
        };
        state.environments.values().filter(is_overdue).for_each(|environment| environment.stop.notify_one());
    }

    /// Number of processes that have exited so far.
    pub fn exits(&self) -> u64 {
        self.state().exits
    }

    /// Waits until an execution environment of this generation is ready. Returns false when a process exits first: `exits` is the
    /// number of exits before the start.
    pub async fn wait_for_generation(&self, generation: u64, exits: u64) -> bool {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let state = self.state();
                if state.ready_generation >= generation {
                    return true;
                }
                if state.exits > exits {
                    return false;
                }
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until any execution environment is ready.
    pub async fn wait_until_ready(&self) {
        let mut changed = self.changed.subscribe();
        while !self.state().environments.values().any(|environment| environment.is_ready) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    /// Passes queued invocations to free execution environments, oldest first.
    fn dispatch(&mut self) {
        let mut free = self.environments.values_mut().filter(|one| one.next_request.is_some() && !one.is_retired);
        while let Some(queued) = self.queued.pop_front() {
            // The caller no longer waits.
            if queued.response.is_closed() {
                continue;
            }
            let Some(environment) = free.next() else { return self.queued.push_front(queued) };
            let Some(request) = environment.next_request.take() else { continue };
            let id = queued.invocation.id.clone();
            let invocation = Invocation { deadline: SystemTime::now() + queued.limit, ..queued.invocation };
            match request.send(invocation) {
                Ok(()) => {
                    environment.active = Some(ActiveInvocation { id, since: Instant::now(), response: queued.response })
                }
                // The connection of the request is closed; the process will send a new request, or exit.
                Err(invocation) => {
                    self.queued.push_front(QueuedInvocation {
                        invocation,
                        limit: queued.limit,
                        response: queued.response,
                    });
                }
            }
        }
    }

    /// Retires the execution environments of older generations. Each is stopped when its current invocation is complete.
    fn became_ready(&mut self, generation: u64) {
        self.ready_generation = self.ready_generation.max(generation);
        for older in self.environments.values_mut().filter(|environment| environment.generation < generation) {
            older.is_retired = true;
            if older.active.is_none() {
                older.stop.notify_one();
            }
        }
    }
}

impl Environment {
    /// Fails the current invocation.
    fn fail(&mut self, how: &str) {
        if let Some(active) = self.active.take() {
            let _ = active.response.send(Err(InvokeError::Exited(how.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(9);

    fn ready_environment(pool: &Pool) -> (u64, oneshot::Receiver<Invocation>) {
        let generation = pool.state().generation;
        let (number, _) = pool.add(generation);
        let asked = pool.next(number).unwrap();
        (number, asked)
    }

    fn invoke(pool: &Pool, id: &str) -> Result<oneshot::Receiver<InvokeResult>, InvokeError> {
        pool.invoke(id, Bytes::new(), LIMIT)
    }

    #[test]
    fn without_a_ready_environment_a_call_fails_at_once_and_otherwise_it_is_queued() {
        let pool = Pool::new(1);
        assert_eq!(invoke(&pool, "early").unwrap_err(), InvokeError::Unavailable);
        let (number, mut asked) = ready_environment(&pool);
        let (mut first, mut second) = (invoke(&pool, "1").unwrap(), invoke(&pool, "2").unwrap());
        assert_eq!(asked.try_recv().unwrap().id, "1");
        pool.complete(number, "2", Ok("not its own".into()));
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        pool.complete(number, "1", Ok("one".into()));
        assert_eq!(first.try_recv().unwrap(), Ok("one".into()));
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "2");
    }

    #[test]
    fn a_process_that_exits_fails_its_invocation_and_the_last_one_fails_queued_invocations() {
        let pool = Pool::new(2);
        let ((one, _asks), (other, _also)) = (ready_environment(&pool), ready_environment(&pool));
        let mut calls = ["1", "2", "3"].map(|id| invoke(&pool, id).unwrap());
        assert!(!pool.remove(one, "killed"));
        assert_eq!(calls[0].try_recv().unwrap(), Err(InvokeError::Exited("killed".into())));
        assert!(calls[1].try_recv().is_err() && calls[2].try_recv().is_err(), "the other process still runs");
        assert!(!pool.remove(other, "killed"));
        assert_eq!(calls[1].try_recv().unwrap(), Err(InvokeError::Exited("killed".into())));
        assert_eq!(calls[2].try_recv().unwrap(), Err(InvokeError::Unavailable));
        assert_eq!(invoke(&pool, "4").unwrap_err(), InvokeError::Unavailable);
        assert!(pool.next(one).is_none(), "a removed environment gets no event");
    }

    #[test]
    fn an_event_is_not_lost_when_the_connection_is_closed() {
        let pool = Pool::new(1);
        let (number, asked) = ready_environment(&pool);
        drop(asked);
        let _call = invoke(&pool, "1").unwrap();
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "1");
        drop(invoke(&pool, "2").unwrap());
        let _third = invoke(&pool, "3").unwrap();
        pool.complete(number, "1", Ok(Bytes::new()));
        let mut asked = pool.next(number).unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "3", "the caller of the second no longer waits");
    }

    #[test]
    fn another_environment_is_needed_while_calls_are_queued_up_to_the_limit() {
        let pool = Pool::new(2);
        pool.plan_one(pool.new_generation());
        let (_, _asked) = ready_environment(&pool);
        let _one = invoke(&pool, "1").unwrap();
        assert_eq!(pool.needs_another(), None, "nothing is queued");
        let _two = invoke(&pool, "2").unwrap();
        assert_eq!(pool.needs_another(), Some(1));
        pool.plan_one(1);
        assert_eq!(pool.needs_another(), None, "the limit is reached");
    }

    #[test]
    fn a_new_program_replaces_the_old_one_when_it_is_ready_and_running_invocations_complete() {
        let pool = Pool::new(2);
        pool.new_generation();
        let ((active, _asked), (idle, _waits)) = (ready_environment(&pool), ready_environment(&pool));
        let mut call = invoke(&pool, "1").unwrap();
        let generation = pool.new_generation();
        let mut also = invoke(&pool, "2").unwrap();
        pool.complete(idle, "2", Ok("old".into()));
        assert_eq!(also.try_recv().unwrap(), Ok("old".into()), "the old program runs until the new one is ready");
        let _idle_again = pool.next(idle).unwrap();
        let (number, mut asked) = ready_environment(&pool);
        assert!(pool.is_current(generation));
        let _third = invoke(&pool, "3").unwrap();
        assert_eq!(asked.try_recv().unwrap().id, "3");
        pool.complete(active, "1", Ok("old".into()));
        assert_eq!(call.try_recv().unwrap(), Ok("old".into()));
        assert!(pool.next(active).unwrap().try_recv().is_err());
        assert!(pool.remove(active, "") && pool.remove(idle, ""), "both were stopped on purpose");
        assert!(!pool.remove(number, "killed"));
    }
}
