//! Follows a log, in a task of its own.

use super::order::Order;
use super::place::{Item, Piece};
use super::tail::Tail;
use crate::client::Row;
use dujiang_core::Result;
use dujiang_core::budget::{Budget, Held};
use std::time::Duration;
use tokio::sync::mpsc;

/// Reads on and on.
pub(crate) struct Follow {
    tail: Tail,
    order: Order,
    budget: Budget,
    /// Of entries that are not committed yet.
    open: Held,
    poll: Duration,
    row: Row,
    told: u64,
}

impl Follow {
    pub(crate) fn new(tail: Tail, order: Order, budget: Budget, poll: Duration) -> Self {
        let open = budget.hold(0);
        Self { tail, order, budget, open, poll, row: Row::default(), told: 0 }
    }

    /// Works until nobody listens; an error is the last thing told.
    pub(crate) async fn run(mut self, out: mpsc::Sender<Result<Piece>>) {
        loop {
            match self.turn(&out).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Nobody listens any more: then nobody needs it.
                    let _ = out.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    async fn turn(&mut self, out: &mpsc::Sender<Result<Piece>>) -> Result<bool> {
        let pulled = self.tail.pull().await?;
        let order = &mut self.order;
        let outcome = self.tail.each(&pulled, &mut self.row, |record| order.take(record));
        let idle = pulled.records == 0;
        drop(pulled);
        // What was committed before something wrong is handed out first.
        let items: Vec<Item> = self.order.take_ready().into();
        self.open.resize(self.order.memory());
        let end = self.order.committed();
        if !items.is_empty() || end > self.told {
            self.told = end;
            let held = self.budget.hold(items.iter().map(Item::memory).sum());
            if out.send(Ok(Piece { items, end, held })).await.is_err() {
                return Ok(false);
            }
        }
        outcome?;
        if idle {
            tokio::select! {
                () = out.closed() => return Ok(false),
                () = tokio::time::sleep(self.poll) => {}
            }
        }
        Ok(!out.is_closed())
    }
}
