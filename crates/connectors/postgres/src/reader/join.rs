//! Tables that come while the pipeline runs: created, renamed or granted into the pattern.
//!
//! First the reader takes the table in: from then on the stream's changes of it are judged, and dropped, since no chunk of it is
//! read. Only then it is published, and what was under way at that moment, of which the stream may tell a part or nothing, is
//! what every view of its snapshot must show. So each of its rows is in the snapshot or in the stream, and in one of them only.

use super::arrivals::{Arrival, Published};
use super::*;
use crate::snapshot::Job;
use std::sync::Mutex;

impl PostgresReader {
    /// Takes in a table that has come, or reads one that is published now. True when there is something to tell.
    pub(super) fn arrivals(&mut self) -> Result<bool> {
        if let Some(published) = self.watch.published() {
            self.read_arrival(published);
        }
        if self.start.machine.is_inside() || self.start.bounded {
            return Ok(false);
        }
        let Some(arrival) = self.watch.arrival() else { return Ok(false) };
        self.flush_all()?;
        let schema = arrival.shape.decodable().schema;
        let statement = format!("CREATE TABLE {}", schema.id);
        let change = SchemaChange { before: None, after: schema, statement, ddl: Ddl::default() };
        let at = self.start.tables.iter().count();
        self.announced = Some(Announced { at, change, then: Then::Join(Box::new(arrival)), told: false });
        Ok(true)
    }

    /// The table is one of ours from here on. What the stream has told of it so far was that of a table of others.
    pub(super) fn take_in(&mut self, arrival: Arrival) {
        let (id, oid) = (arrival.shape.id(), arrival.shape.relation);
        let at = self.start.tables.add(arrival.shape, arrival.order, Arc::new(Mutex::default()));
        self.start.snapshot.join(SideTable {
            at,
            rows: 0,
            estimated: arrival.rows,
            frontier: None,
            torn: false,
            read: false,
            passed: false,
            joining: true,
        });
        self.snapshot_told = false;
        tracing::info!(table = %id, "a table has come, and is read");
        self.start.machine.doubt(oid);
        if self.binary && !self.start.tables.reads_binary() {
            self.start_over();
        }
        self.watch.taken_in(id);
    }

    fn read_arrival(&mut self, published: Published) {
        let Some(at) = self.start.tables.find(&published.table) else { return };
        let table = self.start.tables.get(at);
        let Some(handoff) = table.handoff.clone() else { return };
        lock(&handoff).must_show(published.under_way);
        self.start.snapshot.joined(Job {
            at,
            shape: table.shape.clone(),
            order: table.order.clone(),
            filter: published.filter,
            bytes: published.bytes,
            handoff,
            frontier: None,
            rows: 0,
        });
    }
}
