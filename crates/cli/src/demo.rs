//! The demo: a real database of its own if there is one on the machine, a small shop that is never closed, and its tables
//! as Parquet files.

use crate::console::{Console, print};
use crate::loops::Plan;
use crate::pipeline_file;
use crate::session::Session;
use dujiang_core::{Code, Error, ResultExt};
use dujiang_engine::Stopper;
use dujiang_scratch::shop::{self, Load};
use dujiang_scratch::{Family, Options, Server, ServerBinary};
use dujiang_spec::{Diagnostic, SourceText};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Name of the demo's pipeline.
const NAME: &str = "demo";
/// Transactions of the shop in a second: lively, and light on a laptop.
const TRANSACTIONS_PER_SECOND: u32 = 150;
/// The shop's one ALTER TABLE comes after so many of them, so that everyone sees it pass.
const ALTER_AFTER: u64 = 3 * TRANSACTIONS_PER_SECOND as u64;

/// Why a demo did not run.
pub enum DemoError {
    /// Its pipeline was refused.
    Refused(Vec<Diagnostic>),
    /// Something it needs failed.
    Failed(Error),
}

impl From<Error> for DemoError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs until Ctrl-C, or for so many seconds; the result is the exit code.
///
/// # Errors
/// When the folder, the server or the pipeline cannot be set up.
pub fn run(seconds: Option<u64>, keep: Option<PathBuf>, console: &Console) -> Result<u8, DemoError> {
    let folder = Folder::make(keep)?;
    // First of all, so that Ctrl-C finds somebody who cleans up.
    let session = Session::start(console, NAME)?;
    let shop = Shop::open(&folder)?;
    let text = pipeline_text(&folder, shop.as_ref());
    let file = folder.path.join("demo.yaml");
    fs::write(&file, &text).or_code(Code::SinkNotWritable, || format!("cannot write `{}`", file.display()))?;
    let text = SourceText::new(file.display().to_string(), text);
    let loaded = pipeline_file::from_text(text, &folder.path, &[]).map_err(DemoError::Refused)?;
    introduce(&folder, shop.as_ref(), seconds);
    let load = shop.as_ref().map(|shop| shop.play(&session)).transpose()?;
    if let Some(seconds) = seconds {
        end_after(&session, Duration::from_secs(seconds));
    }
    let code = session.run(loaded, Plan { state_dir: folder.path.join("state"), until: None, restore_from: None });
    let played = load.map(LoadHandle::finish);
    // The server goes before the folder it lives in.
    drop(shop);
    conclude(&folder, played);
    Ok(code)
}

/// Where everything of a demo lies.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: Option<PathBuf>) -> Result<Self, Error> {
        let kept = keep.is_some();
        let name = format!("dujiang-demo-{}", std::process::id());
        let path = keep.unwrap_or_else(|| std::env::temp_dir().join(name));
        let cannot = || format!("the demo's folder `{}` cannot be made", path.display());
        fs::create_dir_all(&path).or_code(Code::SinkNotWritable, cannot)?;
        let path = fs::canonicalize(&path).or_code(Code::SinkNotWritable, cannot)?;
        let mut entries = fs::read_dir(&path).or_code(Code::SinkNotWritable, cannot)?;
        if entries.next().is_some() {
            let sentence = format!("the demo's folder `{}` is not empty", path.display());
            return Err(Error::new(Code::Usage, sentence).help("name a new folder with --keep"));
        }
        Ok(Self { path, keep: kept })
    }

    fn lake(&self) -> PathBuf {
        self.path.join("lake")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The shop on a private server.
struct Shop {
    server: Server,
    binary: ServerBinary,
    rows: u64,
}

impl Shop {
    /// `None` when the machine has no server.
    fn open(folder: &Folder) -> Result<Option<Self>, Error> {
        let Some(binary) = ServerBinary::find() else {
            return Ok(None);
        };
        let server =
            Server::start_with(&binary, &Options::default().dir(folder.path.join("server"))).map_err(no_shop)?;
        let mut session = server.session().map_err(no_shop)?;
        session.run(shop::schema_sql()).map_err(no_shop)?;
        let mut rows = 0;
        for transaction in new_load().initial_transactions() {
            session.run(&transaction.sql).map_err(no_shop)?;
            rows += transaction.changes;
        }
        Ok(Some(Self { server, binary, rows }))
    }

    /// Keeps customers coming until the run is asked to end.
    fn play(&self, session: &Session) -> Result<LoadHandle, Error> {
        let mut database = self.server.session().map_err(no_shop)?;
        let stop = session.stop_signal();
        let ended = Arc::new(AtomicBool::new(false));
        let played = Arc::new(AtomicU64::new(0));
        let (end, count) = (ended.clone(), played.clone());
        let thread = std::thread::spawn(move || {
            let mut load = new_load();
            load.initial_transactions();
            let opened = Instant::now();
            for (number, transaction) in (0u32..).zip(load) {
                let due = Duration::from_secs(1) * number / TRANSACTIONS_PER_SECOND;
                std::thread::sleep(due.saturating_sub(opened.elapsed()));
                if stop.is_stopped() || end.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = database.run(&transaction.sql) {
                    tracing::warn!("the demo's write load ended: {error}");
                    return;
                }
                count.fetch_add(transaction.changes, Ordering::Relaxed);
            }
        });
        Ok(LoadHandle { thread, ended, played })
    }

    fn source_type(&self) -> &'static str {
        match self.binary.family {
            Family::MariaDb => "mariadb",
            Family::MySql => "mysql",
        }
    }
}

/// The same shop for the opening and for the play.
fn new_load() -> Load {
    Load::new(256).alter_after(ALTER_AFTER)
}

fn no_shop(error: dujiang_scratch::Error) -> Error {
    Error::new(Code::SourceUnreachable, "the demo's private database server could not be set up")
        .with_source(error)
        .help("without `mariadbd` or `mysqld` on the PATH the demo plays the shop from its built-in generator")
}

/// The write load while it runs.
struct LoadHandle {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
    played: Arc<AtomicU64>,
}

impl LoadHandle {
    /// Ends it; how many row changes it made.
    fn finish(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.played.load(Ordering::Relaxed)
    }
}

fn end_after(session: &Session, span: Duration) {
    let stopper: Stopper = session.stopper();
    session.runtime().spawn(async move {
        tokio::time::sleep(span).await;
        stopper.stop();
    });
}

/// A pipeline file that anyone can copy: the demo runs nothing that a user could not.
fn pipeline_text(folder: &Folder, shop: Option<&Shop>) -> String {
    let source = match shop {
        Some(shop) => format!(
            "source:\n  type: {}\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: shop.\\.*\n",
            shop.source_type(),
            shop.server.port()
        ),
        None => format!(
            "source:\n  type: generator\n  rate: {}\n  alter-after: {ALTER_AFTER}\n",
            4 * TRANSACTIONS_PER_SECOND
        ),
    };
    let sink = format!("sink:\n  type: file\n  path: {}\n  format: parquet\n", yaml_text(&folder.lake()));
    format!("{source}{sink}pipeline:\n  name: {NAME}\n  checkpoint.interval: 2s\n")
}

/// A path as a YAML scalar in single quotes.
fn yaml_text(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

fn introduce(folder: &Folder, shop: Option<&Shop>, seconds: Option<u64>) {
    let from = match shop {
        Some(shop) => format!(
            "database  {} found at {}; a private copy listens on 127.0.0.1:{}\n\
             shop      {} tables, {} rows, about {TRANSACTIONS_PER_SECOND} transactions a second",
            shop.server.version(),
            shop.binary.path.display(),
            shop.server.port(),
            shop::TABLES.len(),
            shop.rows,
        ),
        None => {
            "database  none: neither `mariadbd` nor `mysqld` is on the PATH, so the built-in generator plays the shop\n\
                 hint      install a server (on Debian: mariadb-server) to see the real thing"
                .to_owned()
        }
    };
    let lake = folder.lake();
    let stop = match seconds {
        Some(seconds) => format!("by itself after {seconds} s, or Ctrl-C"),
        None => "Ctrl-C: the open epoch is finished, then everything ends".to_owned(),
    };
    let query =
        format!("SELECT __op, count(*) FROM read_parquet('{}/shop.orders/**/*.parquet') GROUP BY ALL", lake.display());
    print(&format!(
        "{from}\n\
         pipeline  {}\n\
         files     {}/<database>.<table>/, a new epoch every 2 s\n\
         look      duckdb -c \"{query}\"\n\
         stop      {stop}\n\n",
        folder.path.join("demo.yaml").display(),
        lake.display(),
    ));
}

fn conclude(folder: &Folder, played: Option<u64>) {
    if let Some(changes) = played {
        print(&format!("the shop made {changes} row changes; those after the last epoch are in no file\n"));
    }
    if folder.keep {
        print(&format!("kept      {}\n", folder.path.display()));
    } else {
        print("the scratch folder and the private server are gone; --keep DIR keeps them\n");
    }
}
