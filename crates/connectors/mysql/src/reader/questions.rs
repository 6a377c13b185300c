//! Questions to the server that go on while nobody polls.
//!
//! Whoever polls the reader gives up for every barrier. An answer can take longer than the time between two barriers: asked
//! within the poll, the question would begin anew for ever. So each is a task of its own, whose answer is kept until what it was
//! asked for is dealt with: working that out again after a barrier gets the same answers, and comes further each time.

use super::catalog::{self, Beginning, Later};
use super::*;
use crate::client::{Connection, Endpoint};
use crate::ddl::model::Habits;
use crate::decode::ZeroDates;
use crate::shape::Shape;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use tokio::task::JoinHandle;

/// What a question is about: what is asked, and of what. Equal ones get the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    what: &'static str,
    of: String,
}

impl About {
    /// A question of this kind about this.
    pub fn new(what: &'static str, of: impl ToString) -> Self {
        Self { what, of: of.to_string() }
    }
}

/// The work of a question, with the connection that it may use.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

type Answer = Box<dyn Any + Send>;

struct Asked {
    about: About,
    /// Gives the connection back.
    task: JoinHandle<Result<(Answer, Connection)>>,
    answer: Option<Answer>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Questions of which the answers are awaited or kept.
pub(super) struct Questions {
    endpoint: Endpoint,
    /// For the next one.
    connection: Option<Connection>,
    asked: Vec<Asked>,
}

impl Questions {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None, asked: Vec::new() }
    }

    /// Everything is dealt with: what is asked from now on is asked of the server.
    pub fn settled(&mut self) {
        self.asked.clear();
    }

    /// As [`Questions::settled`], and what is asked from now on is asked in a session of its own.
    pub fn start_over(&mut self) {
        self.asked.clear();
        self.connection = None;
    }

    /// The answer to a question. **Cancel-safe**: asked again, it goes on waiting. One that failed is forgotten.
    ///
    /// # Errors
    /// `ConnectionLost` and the like, and those of the question.
    pub async fn ask<T, Q>(&mut self, about: About, question: Q) -> Result<T>
    where
        T: Clone + Send + 'static,
        Q: for<'a> FnOnce(&'a mut Connection) -> Asking<'a, T> + Send + 'static,
    {
        let known = self.asked.iter().position(|asked| asked.about == about);
        let at = known.unwrap_or_else(|| {
            let task = self.begin(question);
            self.asked.push(Asked { about, task, answer: None });
            self.asked.len() - 1
        });
        let asked = &mut self.asked[at];
        if asked.answer.is_none() {
            let broken = |e| Error::new(Code::Bug, "a question to the source broke off").with_source(e);
            match (&mut asked.task).await.map_err(broken).and_then(|answer| answer) {
                Ok((answer, connection)) => {
                    asked.answer = Some(answer);
                    self.connection = Some(connection);
                }
                Err(error) => {
                    self.asked.remove(at);
                    return Err(error);
                }
            }
        }
        let answer = self.asked[at].answer.as_ref().and_then(|answer| answer.downcast_ref::<T>()).cloned();
        answer.ok_or_else(|| Error::new(Code::Bug, "a question to the source got the answer to another"))
    }

    fn begin<T, Q>(&mut self, question: Q) -> JoinHandle<Result<(Answer, Connection)>>
    where
        T: Send + 'static,
        Q: for<'a> FnOnce(&'a mut Connection) -> Asking<'a, T> + Send + 'static,
    {
        let (endpoint, connection) = (self.endpoint.clone(), self.connection.take().filter(Connection::is_idle));
        tokio::spawn(async move {
            let mut connection = match connection {
                Some(connection) => connection,
                None => Connection::connect(&endpoint).await?,
            };
            let answer: Answer = Box::new(question(&mut connection).await?);
            Ok((answer, connection))
        })
    }
}

/// What the reader asks. All of it is **cancel-safe**.
impl MysqlReader {
    /// A table as the catalog has it now, whatever the place.
    pub(super) async fn glance(&mut self, id: &TableId) -> Result<Option<Shape>> {
        let (id, zero_dates) = (id.clone(), self.start.config.options.zero_dates);
        let about = About::new("the catalog's columns", &id);
        self.questions.ask(about, move |c| Box::pin(async move { catalog::glance(c, &id, zero_dates).await })).await
    }

    /// A table as it is now, and the place that is of; none when it does not exist.
    pub(super) async fn standing(&mut self, id: &TableId) -> Result<Option<catalog::Standing>> {
        let (id, zero_dates, marked) = self.of_table(id);
        let about = About::new("columns at a place", &id);
        self.questions
            .ask(about, move |c| {
                Box::pin(async move { catalog::standing(c, &id, zero_dates, marked.as_deref()).await })
            })
            .await
    }

    /// What has to be known of a table that begins to be captured; none when it does not exist.
    pub(super) async fn beginning(&mut self, id: &TableId) -> Result<Option<Beginning>> {
        let (id, zero_dates, marked) = self.of_table(id);
        let about = About::new("a beginning", &id);
        self.questions
            .ask(about, move |c| {
                Box::pin(async move { catalog::beginning(c, &id, zero_dates, marked.as_deref()).await })
            })
            .await
    }

    /// A table, and with what questions about it are answered.
    fn of_table(&self, id: &TableId) -> (TableId, ZeroDates, Option<Arc<MarkedLog>>) {
        (id.clone(), self.start.config.options.zero_dates, self.start.marked.clone())
    }

    /// What became of a table behind a place.
    pub(super) async fn look_up(&mut self, id: &TableId, after: &Place) -> Result<Later> {
        let (config, resume, names) = (self.start.config.clone(), resume(&self.start), *self.start.tables.names());
        let (id, after, marked) = (id.clone(), after.clone(), self.start.marked.clone());
        let about = About::new("later changes", format!("{id} {after}"));
        self.questions
            .ask(about, move |c| {
                Box::pin(
                    async move { catalog::later(c, &config, &resume, &after, names, &id, marked.as_deref()).await },
                )
            })
            .await
    }

    /// What the server adds by itself to statements that are run in a database.
    pub(super) async fn habits(&mut self, database: &str) -> Result<Habits> {
        let (reading, zero_dates) = (self.start.tables.names().reading, self.start.config.options.zero_dates);
        if self.habits.is_none() {
            let asked = self
                .questions
                .ask(About::new("habits", ""), move |c| Box::pin(catalog::habits(c, reading, zero_dates)));
            self.habits = Some(asked.await?);
        }
        let (about, database) = (About::new("collation", database), database.to_owned());
        let asked = self
            .questions
            .ask(about, move |c| Box::pin(async move { catalog::database_collation(c, &database).await }));
        let collation = asked.await?;
        let habits = self.habits.as_ref().expect("invariant: just asked");
        Ok(Habits { database: collation, ..habits.clone() })
    }

    /// The constraint by which the server changes rows of a table without logging it, if there is one.
    pub(super) async fn cascading(&mut self, id: &TableId) -> Result<Option<String>> {
        let (about, id) = (About::new("cascades", id), id.clone());
        self.questions.ask(about, move |c| Box::pin(async move { catalog::cascading(c, &id).await })).await
    }

    /// How descriptions of columns in the log are to be read.
    pub(super) async fn describing(&mut self) -> Result<Arc<catalog::Describing>> {
        let about = About::new("collations", "");
        self.questions.ask(about, |c| Box::pin(async move { catalog::describing(c).await.map(Arc::new) })).await
    }

    /// After a start of the server: which distributed transactions it has lost.
    pub(super) async fn ask_for_prepared(&mut self) -> Result<()> {
        let about = About::new("prepared transactions", "");
        let (prepared, end) = self.questions.ask(about, |c| Box::pin(catalog::prepared(c))).await?;
        self.questions.settled();
        self.setbacks = 0;
        self.start.machine.told_prepared(prepared.as_deref(), &end);
        Ok(())
    }

    /// The sort keys of these keys, in their order.
    pub(super) async fn weighed(&mut self, open: &OpenKeys) -> Result<Arc<Vec<Vec<u8>>>> {
        let order = self.start.tables.server_order(open.table)?;
        let keys: Vec<_> = open.keys.iter().flat_map(|(before, after)| before.iter().chain(after)).cloned().collect();
        let about = About::new("sort keys", format!("{} {keys:?}", open.table));
        self.questions.ask(about, move |c| Box::pin(async move { order.weigh(c, &keys).await.map(Arc::new) })).await
    }
}
