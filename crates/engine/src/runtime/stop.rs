//! How a run is asked to end.

use tokio::sync::watch;

/// Asks a run to end. Clone it into every place that may ask.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<bool>);

/// The run's end of a [`Stopper`]. A signal whose stoppers are all gone never fires.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// A new pair. To quit at once, without a last checkpoint, drop the future of the run instead: that is as safe as a
    /// crash.
    pub fn new() -> (Stopper, StopSignal) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), StopSignal(receiver))
    }

    /// A signal that never fires.
    pub fn never() -> StopSignal {
        Self::new().1
    }

    /// Whether the run has been asked to end.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the run is asked to end.
    pub async fn stopped(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Stopper {
    /// Asks the run to finish its epoch, publish, commit and end. Further calls change nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
