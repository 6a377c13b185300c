//! Logs whose places mean nothing, since they differ from node to node: their transactions are counted instead (OceanBase).

use super::*;

impl Machine {
    /// Places are the numbers of transactions.
    #[must_use]
    pub fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// The place at which a transaction begins.
    ///
    /// # Errors
    /// `OtherServer` when the numbers go back: another history.
    pub(super) fn begin_of(&self, gtid: &Gtid, at: &At<'_>, known: bool) -> Result<Place> {
        let Gtid::MySql(_, number) = gtid else { return Ok(at.begin.clone()) };
        if !self.numbered {
            return Ok(at.begin.clone());
        }
        let begin = Place::of_number(*number);
        if !known && begin < self.boundary {
            let message = format!("the source counts its transactions anew: number {number} comes after others");
            return Err(Error::new(Code::OtherServer, message)
                .fact("followed", self.executed.to_string())
                .help("the service's task for the tenant was made anew; start a new pipeline with a new snapshot"));
        }
        Ok(begin)
    }

    /// The place behind a transaction.
    pub(super) fn end_of(&self, gtid: &Gtid, next: Option<&Place>) -> Option<Place> {
        match gtid {
            Gtid::MySql(_, number) if self.numbered => Some(Place::of_number(number + 1)),
            _ => next.cloned(),
        }
    }
}
