//! A call held where it is, so that a test can do what somebody else might do at that very moment.

use tokio::sync::oneshot;

/// A call that will stop before anything is done. It goes on when this is dropped.
#[derive(Debug)]
#[must_use = "a call is held as long as this is"]
pub struct Hold {
    arrived: oneshot::Receiver<()>,
    _go: oneshot::Sender<()>,
}

/// The other side of a [`Hold`].
#[derive(Debug)]
pub(super) struct Gate {
    arrived: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

/// A hold and its gate.
pub(super) fn hold() -> (Hold, Gate) {
    let ((told, arrived), (_go, go)) = (oneshot::channel(), oneshot::channel());
    (Hold { arrived, _go }, Gate { arrived: told, go })
}

impl Hold {
    /// Waits until the call is there. Once.
    ///
    /// # Panics
    /// When there will be no such call: it was taken back, or the cloud is gone.
    pub async fn arrived(&mut self) {
        (&mut self.arrived).await.expect("the call that was to be held never came");
    }
}

impl Gate {
    /// Says that the call is there, and waits until it may go on.
    pub async fn pass(self) {
        let _ = self.arrived.send(());
        let _ = self.go.await;
    }
}
