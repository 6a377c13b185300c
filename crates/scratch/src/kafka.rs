//! A private Kafka broker.

use crate::binary::servers_folder;
use crate::error::{Error, IoContext, Result};
use crate::guard::Guarded;
use crate::port::free_port;
use crate::server::scratch_path;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Settings of every broker; those of [`KafkaOptions`] come after them and win.
const SETTINGS: &[&str] = &[
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=CONTROLLER",
    "inter.broker.listener.name=INTERNAL",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    "auto.create.topics.enable=false",
    "log.cleaner.dedupe.buffer.size=2000000",
];
/// What a broker writes into its log once clients may come.
const READY: &str = "Kafka Server started";

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// Settings, each `name=value`.
    pub settings: Vec<String>,
    /// The port that clients are told to come to, where something stands in between.
    pub advertised: Option<u16>,
    /// A second listener, with TLS and a password: certificate chain and private key (PKCS #8) in PEM.
    pub secure: Option<(String, String)>,
}

/// A Kafka broker of one node (KRaft) on the loopback address; it never outlives the process that started it. The secure
/// listener lets in the user `user` with the password `password` (SASL PLAIN).
pub struct Kafka {
    program: PathBuf,
    broker: Option<Guarded>,
    dir: PathBuf,
    options: KafkaOptions,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    internal: u16,
    controller: u16,
    secure: u16,
}

impl Kafka {
    /// Starts a broker.
    ///
    /// # Errors
    /// [`Error::NoSuchServer`] when the broker is not unpacked, or how the start failed.
    pub fn start() -> Result<Self> {
        Self::start_with(&KafkaOptions::default())
    }

    /// As [`Kafka::start`], with options.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_with(options: &KafkaOptions) -> Result<Self> {
        let home = servers_folder().join("kafka");
        let program = home.join("bin/kafka-server");
        if !program.is_file() {
            return Err(Error::NoSuchServer { kind: "Kafka".into(), path: program });
        }
        let dir = scratch_path("dujiang-kafka");
        let mut kafka = Self { program, broker: None, dir, options: options.clone(), ports: Ports::choose() };
        kafka.format(&home.join("template"))?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match kafka.launch() {
                // Between choosing a port and the broker's bind another process may take it.
                Err(Error::DidNotStart { log }) if attempts < 20 && port_was_taken(&log) => {
                    kafka.ports = Ports::choose();
                }
                other => return other.map(|()| kafka),
            }
        }
    }

    /// A formatted folder, copied.
    fn format(&self, template: &Path) -> Result<()> {
        let metadata = Path::new("data/__cluster_metadata-0");
        std::fs::create_dir_all(self.dir.join(metadata)).at("make the folder", &self.dir)?;
        for name in ["data/meta.properties", "data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"] {
            let from = template.join(name.trim_start_matches("data/"));
            std::fs::copy(&from, self.dir.join(name)).at("copy", &from)?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let (log, settings) = (self.dir.join("kafka.log"), self.dir.join("server.properties"));
        let _ = std::fs::remove_file(&log);
        std::fs::write(&settings, self.settings()).at("write", &settings)?;
        let arguments = [settings.display().to_string()];
        let mut guarded = Guarded::spawn(&self.program, &arguments, &log, Some(&self.dir))?;
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        guarded.wait(PATIENCE, Duration::from_millis(10), || told().contains(READY), told)?;
        self.broker = Some(guarded);
        Ok(())
    }

    fn settings(&self) -> String {
        let Ports { client, internal, controller, secure } = self.ports;
        let advertised = self.options.advertised.unwrap_or(client);
        let mut text = SETTINGS.join("\n");
        let mut listeners = vec![("CLIENT", client, advertised), ("INTERNAL", internal, internal)];
        let mut protocols = "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        if let Some((chain, key)) = &self.options.secure {
            listeners.push(("SECURE", secure, secure));
            protocols.push_str(",SECURE:SASL_SSL");
            let one_line = |pem: &str| pem.trim().replace('\n', "\\n");
            let _ = write!(
                text,
                "\nssl.keystore.type=PEM\nssl.keystore.certificate.chain={}\nssl.keystore.key={}\n\
                 sasl.enabled.mechanisms=PLAIN\nlistener.name.secure.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required user_user=\"password\";",
                one_line(chain),
                one_line(key)
            );
        }
        let at = |port: fn(&(&str, u16, u16)) -> u16| {
            let each = listeners.iter().map(|l| format!("{}://127.0.0.1:{}", l.0, port(l)));
            each.collect::<Vec<_>>().join(",")
        };
        let (bound, told) = (at(|l| l.1), at(|l| l.2));
        let data = self.dir.join("data").display().to_string();
        let _ = write!(
            text,
            "\nlisteners={bound},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={told}\n\
             listener.security.protocol.map={protocols}\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs={data}\n{}\n",
            self.options.settings.join("\n")
        );
        text
    }

    /// Where clients begin: `127.0.0.1:<port>`, past whatever stands in between.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.client)
    }

    /// The port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// The port of the listener with TLS and a password.
    pub fn secure_port(&self) -> u16 {
        self.ports.secure
    }

    /// What the broker wrote since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("kafka.log")).unwrap_or_default()
    }

    /// The folder of the broker's program and libraries.
    pub fn home(&self) -> &Path {
        self.program.parent().and_then(Path::parent).expect("invariant: the program lies in a folder of its home")
    }

    /// Kills the broker as a crash would. [`Kafka::restart`] brings it back.
    pub fn kill9(&mut self) {
        self.broker = None;
    }

    /// Starts the broker again on the same ports and the same data; stops it first when it runs.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn restart(&mut self) -> Result<()> {
        if let Some(broker) = self.broker.take() {
            broker.stop(PATIENCE);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.launch() {
                // Connections of a killed broker hold its port for a moment.
                Err(Error::DidNotStart { log }) if port_was_taken(&log) && Instant::now() < deadline => {}
                other => return other,
            }
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.broker = None;
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Ports {
    fn choose() -> Self {
        Self { client: free_port(), internal: free_port(), controller: free_port(), secure: free_port() }
    }
}

fn port_was_taken(log: &str) -> bool {
    log.contains("Address already in use") || log.contains("failed to bind")
}
