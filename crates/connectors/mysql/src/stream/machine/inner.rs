//! Events inside an event, or in several.

use super::*;

impl Machine {
    /// Reads on inside an event. Waiting in its midst is no matter: it is shown again.
    pub(super) fn go_on(
        &mut self,
        mut nested: Box<Nested>,
        bytes: &[u8],
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        let mut keys = keys;
        let (begin, next, format) = (nested.begin.clone(), nested.next.clone(), nested.format.clone());
        let at = At { begin: &begin, next: next.as_ref(), format: &format };
        let step = loop {
            let Some(event) = nested.peek(bytes)? else { break None };
            let data = event.data(&format)?;
            match self.data(&event, &data, &at, tables, keys.take())? {
                Step::Done => nested.advance(),
                Step::Rows(table) => {
                    nested.advance();
                    break Some(Step::Part(table));
                }
                Step::Ddl(ddl) => {
                    nested.advance();
                    break Some(Step::Ddl(ddl));
                }
                step => break Some(step),
            }
            // A prepared transaction that is committed at once, all of it compressed: its end is the end of both.
            if let Some(inner) = self.nested.take() {
                if nested.peek(bytes)?.is_some() {
                    return Err(refusals::nested());
                }
                nested = inner;
            }
        };
        if let Some(step) = step {
            self.nested = Some(nested);
            return Ok(step);
        }
        if let Some(xid) = nested.decides {
            self.undecided.handed_out(&xid);
            self.commit(at.next)?;
        }
        self.place = next.or(self.place.take());
        self.at_rest();
        Ok(Step::Done)
    }

    /// A part of a rows event; with the last one the event is read.
    pub(super) fn fragment(
        &mut self,
        part: &RowsFragment<'_>,
        at: &At<'_>,
        tables: &mut Tables,
        keys: Option<&ServerKeys>,
    ) -> Result<Step> {
        if !self.fragments.add(part)? {
            return Ok(Step::Done);
        }
        let fragments = std::mem::take(&mut self.fragments);
        let event = Event::checked(fragments.bytes())?;
        let data = event.data(at.format)?;
        if !matches!(data, EventData::Rows(_) | EventData::CompressedRows(_)) {
            return Err(refusals::nested());
        }
        let step = self.data(&event, &data, at, tables, keys)?;
        if matches!(step, Step::Wait | Step::Keys(_)) {
            // The last part is shown again.
            self.fragments = fragments;
        }
        Ok(step)
    }
}
