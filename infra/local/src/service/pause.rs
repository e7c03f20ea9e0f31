//! Pausing a call, so that a test can act while the call is in progress.

use tokio::sync::oneshot;

/// A call that pauses before it is performed. It continues when this is dropped.
#[derive(Debug)]
#[must_use = "the call continues as soon as this is dropped"]
pub struct PausedCall {
    reached: oneshot::Receiver<()>,
    _resume: oneshot::Sender<()>,
}

/// Where the call pauses: the other side of a [`PausedCall`].
#[derive(Debug)]
pub(super) struct PauseGate {
    reached: oneshot::Sender<()>,
    resume: oneshot::Receiver<()>,
}

/// A paused call and its gate.
pub(super) fn pause() -> (PausedCall, PauseGate) {
    let ((reached_sender, reached), (_resume, resume)) = (oneshot::channel(), oneshot::channel());
    (PausedCall { reached, _resume }, PauseGate { reached: reached_sender, resume })
}

impl PausedCall {
    /// Waits until the call has reached the pause. May be called once.
    ///
    /// # Panics
    /// The call can no longer happen: the planned pause was cleared, or the cloud was stopped.
    pub async fn reached(&mut self) {
        (&mut self.reached).await.expect("the call to pause was never made");
    }
}

impl PauseGate {
    /// Reports that the call has reached the pause, and waits until it may continue.
    pub async fn wait(self) {
        let _ = self.reached.send(());
        let _ = self.resume.await;
    }
}
