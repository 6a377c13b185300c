//! SIGTERM and SIGINT: the first one drains, the second one quits.

use dujiang_engine::Stopper;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code at the second signal.
const QUIT: i32 = 130;

/// Listens from now on; returns when the handlers are in place.
///
/// # Errors
/// When the system refuses a handler.
pub fn listen(stopper: Stopper) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping: the open epoch is finished first; a second signal quits at once, and loses nothing");
        stopper.stop();
        next(&mut terminate, &mut interrupt).await;
        // As safe as a crash: everything published stays published.
        std::process::exit(QUIT);
    });
    Ok(())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
