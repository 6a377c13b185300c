//! Chunks that are read as of a snapshot whose place in the log is not known (OceanBase).

use super::super::fold::Keys;
use super::*;

/// How long a moment without a DDL is waited for.
const BETWEEN_DDL: Duration = Duration::from_millis(100);

impl Session {
    /// A new view, between statements that alter the table.
    pub(super) async fn view_as_of(&mut self, job: &Job, context: &SnapshotContext) -> Result<View> {
        loop {
            let columns = read_columns(&mut self.connection, &job.shape.id()).await?;
            let shape = job.shape.with_columns(columns.clone())?;
            self.expected = Some(columns);
            if let Some(view) = view::as_of(&mut self.connection, context, &shape, &job.handoff).await? {
                return Ok(view);
            }
            if lock(&job.handoff).is_cancelled() {
                return Err(Error::new(Code::SchemaChange, format!("captured table {} is read no more", shape.id())));
            }
            tokio::time::sleep(BETWEEN_DDL).await;
        }
    }

    /// Whether the view is a snapshot of OceanBase, which holds nobody up.
    pub(super) fn reads_as_of(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.as_of.is_some())
    }

    /// Checks that the table still has the columns that were read.
    pub(super) async fn check_columns(&mut self, job: &Job) -> Result<()> {
        let columns = read_columns(&mut self.connection, &job.shape.id()).await?;
        if self.prepared.as_ref().is_some_and(|prepared| prepared.shape.columns == columns) {
            return Ok(());
        }
        let message = format!("captured table {} was altered while it was read", job.shape.id());
        Err(Error::new(Code::SnapshotGone, message).help("nothing: it is read again"))
    }
}

/// Where the rows of a chunk come from.
pub(super) fn origin<'a>(job: &'a Job, view: &View, position: &'a str) -> Origin<'a> {
    Origin {
        transaction: &job.transaction,
        position,
        commit_micros: view.micros,
        precision: TimePrecision::Micros,
        first_ordinal: job.rows,
    }
}

/// A chunk's rows as they are at the view's point, where the view shows those of another moment.
pub(super) async fn at_point(
    connection: &mut Connection,
    prepared: &Prepared,
    job: &Job,
    view: &View,
    batch: Option<ChangeBatch>,
    upper: Option<&[u8]>,
) -> Result<Option<ChangeBatch>> {
    let Some((_, folding)) = &view.as_of else { return Ok(batch) };
    let after = lock(&job.handoff).last_upper();
    let keys = Keys { columns: &prepared.decodable.columns, key: &prepared.shape.key, plan: prepared.keys.as_ref() };
    let position = view.point.to_string();
    folding.apply(batch, (after.as_deref(), upper), origin(job, view, &position), &keys, connection).await
}
