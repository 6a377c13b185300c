//! The service itself.

use super::batch;
use super::http::{self, Answer, Request};
use super::offsets;
use super::pull;
use super::read::{Refusal, Sent, body, check_signature, fields, frame, framed, records};
use super::state::{Fault, State, Stored, Topic};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The access key that the service knows.
pub const ACCESS_ID: &str = "testid";
/// Its secret.
pub const ACCESS_KEY: &str = "testkey";
/// The project that the service has.
pub const PROJECT: &str = "prj";

/// A running service. It ends when it is dropped.
pub struct Datahub {
    pub(super) state: Arc<Mutex<State>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Datahub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Datahub {
    /// Starts a service without topics on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self { state, address, task }
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a topic: names and types of its fields.
    pub fn make_topic(&self, name: &str, fields: &[(&str, &str)], shards: u32) {
        let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        lock(&self.state).topics.insert(name.to_owned(), Topic::new(fields, shards));
    }

    /// Names and types of a topic's fields.
    ///
    /// # Panics
    /// Without such a topic.
    pub fn fields(&self, topic: &str) -> Vec<(String, String)> {
        lock(&self.state).topics[topic].fields.clone()
    }

    /// All records of a topic, in the order in which they came.
    pub fn records(&self, topic: &str) -> Vec<Stored> {
        let state = lock(&self.state);
        let Some(topic) = state.topics.get(topic) else { return Vec::new() };
        topic.order.iter().map(|(shard, sequence)| topic.shards[shard].records[*sequence].clone()).collect()
    }

    /// Closes a shard and opens two for its hashes.
    ///
    /// # Panics
    /// Without such a topic or shard.
    pub fn split(&self, topic: &str, shard: u32) {
        lock(&self.state).topics.get_mut(topic).expect("the topic is there").split(shard);
    }

    /// Closes two neighbours and opens one for the hashes of both.
    ///
    /// # Panics
    /// As [`Datahub::split`], and if they are no neighbours.
    pub fn merge(&self, topic: &str, first: u32, second: u32) {
        lock(&self.state).topics.get_mut(topic).expect("the topic is there").merge(first, second);
    }

    /// The next puts go wrong, one each.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state).faults.extend(faults.into_iter().map(Some));
    }

    /// Nothing goes wrong any more.
    pub fn recover(&self) {
        lock(&self.state).faults.clear();
    }

    /// So many puts pass before the faults that are named next.
    pub fn pass(&self, puts: usize) {
        lock(&self.state).faults.extend(std::iter::repeat_n(None, puts));
    }

    /// The numbers of a topic's shards that take or will take records, by their hashes.
    ///
    /// # Panics
    /// Without such a topic.
    pub fn active(&self, topic: &str) -> Vec<u32> {
        let state = lock(&self.state);
        let shards = state.topics[topic].shards.iter().filter(|(_, shard)| shard.state != "CLOSED");
        let mut shards: Vec<_> = shards.map(|(id, shard)| (shard.begin, *id)).collect();
        shards.sort_unstable();
        shards.into_iter().map(|(_, id)| id).collect()
    }

    /// Opens all shards of a topic at once.
    ///
    /// # Panics
    /// Without such a topic.
    pub fn open(&self, topic: &str) {
        let mut state = lock(&self.state);
        let topic = state.topics.get_mut(topic).expect("the topic is there");
        topic.shards.values_mut().filter(|shard| shard.state == "OPENING").for_each(|shard| shard.state = "ACTIVE");
    }

    /// How many puts have come.
    pub fn puts(&self) -> u64 {
        *lock(&self.state).puts.borrow()
    }

    /// Waits until so many puts have come in all.
    ///
    /// # Panics
    /// Never: the count lives as long as the service.
    pub async fn had(&self, puts: u64) {
        let mut count = lock(&self.state).puts.subscribe();
        count.wait_for(|count| *count >= puts).await.expect("invariant: the service counts as long as it lives");
    }

    /// What a client must never do and has done.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.state).violations.clone()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut kept = Vec::new();
    let mut number = 0;
    while let Ok(Some(request)) = http::read(&mut stream, &mut kept).await {
        number += 1;
        let Some(answer) = answer(&request, &state).await else { return };
        let accepted = request.header("accept-encoding");
        if http::write(&mut stream, &answer, accepted, number).await.is_err() {
            return;
        }
    }
}

/// The answer; none breaks the connection.
async fn answer(request: &Request, state: &Mutex<State>) -> Option<Answer> {
    let answered = match check_signature(request, ACCESS_ID, ACCESS_KEY) {
        Ok(()) => carry_out(request, state).await,
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(answer) => answer,
        Err((status, code, words)) => {
            Some(Answer::json(status, &json!({ "RequestId": "r", "ErrorCode": code, "ErrorMessage": words })))
        }
    }
}

async fn carry_out(request: &Request, state: &Mutex<State>) -> Result<Option<Answer>, Refusal> {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    let ["projects", project, rest @ ..] = parts.as_slice() else {
        return Err((404, "InvalidParameter", request.path.clone()));
    };
    if *project != PROJECT {
        return Err((404, "NoSuchProject", format!("The specified project name does not exist: {project}")));
    }
    let ["topics", topic, rest @ ..] = rest else {
        return Ok(Some(Answer::json(200, &json!({ "Comment": "", "CreateTime": 1, "LastModifyTime": 1 }))));
    };
    let body = body(request)?;
    let batches = request.header("content-type") == Some("application/x-binary");
    match (request.method.as_str(), rest) {
        ("GET", []) => describe(&lock(state), topic).map(Some),
        ("POST", []) => change_topic(&mut lock(state), topic, &body).map(Some),
        ("GET", ["shards"]) => list_shards(&mut lock(state), topic).map(Some),
        ("POST", ["shards"]) => put_json(state, topic, &body).await,
        ("POST", ["shards", shard]) if request.header("x-datahub-request-action") == Some("pub") => {
            put_framed(state, topic, shard, &body, batches).await
        }
        ("POST", ["shards", shard]) if request.header("x-datahub-request-action") == Some("sub") => {
            pull::pull_framed(&mut lock(state), (topic, shard), &body, batches)
        }
        ("POST", ["shards", shard]) => pull::json_of_shard(&mut lock(state), topic, shard, &body),
        ("POST" | "PUT", ["subscriptions", id, "offsets"]) => {
            offsets::carry_out(&mut lock(state), topic, id, &body).map(Some)
        }
        _ => Err((404, "InvalidParameter", request.path.clone())),
    }
}

fn describe(state: &State, name: &str) -> Result<Answer, Refusal> {
    let topic = state.topic(name)?;
    let fields: Vec<_> = topic.fields.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
    let schema = json!({ "fields": fields }).to_string();
    let body = json!({
        "ProjectName": PROJECT, "TopicName": name, "ShardCount": topic.shards.len(), "Lifecycle": 3,
        "RecordType": if topic.blob { "BLOB" } else { "TUPLE" }, "RecordSchema": schema, "CreateTime": topic.created, "NewThing": { "a": [1] },
    });
    Ok(Answer::json(200, &body))
}

fn change_topic(state: &mut State, name: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let wrong = |why: &str| (400, "InvalidParameter", why.to_owned());
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("no JSON"))?;
    let text = |key: &str| body[key].as_str().map(str::to_owned).ok_or_else(|| wrong(key));
    match text("Action")?.to_ascii_lowercase().as_str() {
        "create" if state.topics.contains_key(name) => {
            Err((400, "TopicAlreadyExist", format!("The specified topic already exists: {name}")))
        }
        "create" => {
            let shards =
                body["ShardCount"].as_u64().filter(|n| (1..=256).contains(n)).ok_or_else(|| wrong("shards"))?;
            body["Lifecycle"].as_u64().filter(|n| (1..=7).contains(n)).ok_or_else(|| wrong("lifecycle"))?;
            if text("RecordType")? == "BLOB" {
                let mut topic = Topic::new(vec![("content".into(), "STRING".into())], shards as u32);
                topic.blob = true;
                state.topics.insert(name.to_owned(), topic);
                return Ok(Answer::json(201, &json!({})));
            }
            let schema: Value = serde_json::from_str(&text("RecordSchema")?).map_err(|_| wrong("schema"))?;
            let field = |field: &Value| Some((field["name"].as_str()?.to_owned(), field["type"].as_str()?.to_owned()));
            let fields: Option<Vec<_>> = schema["fields"].as_array().map(|all| all.iter().filter_map(field).collect());
            let topic = Topic::new(fields.ok_or_else(|| wrong("fields"))?, shards as u32);
            state.topics.insert(name.to_owned(), topic);
            Ok(Answer::json(201, &json!({})))
        }
        "appendfield" => {
            let topic = state.topic_mut(name)?;
            topic.fields.push((text("FieldName")?, text("FieldType")?));
            Ok(Answer::json(200, &json!({})))
        }
        other => Err(wrong(other)),
    }
}

fn list_shards(state: &mut State, name: &str) -> Result<Answer, Refusal> {
    let topic = state.topic_mut(name)?;
    let mut shards = Vec::new();
    for (id, shard) in &mut topic.shards {
        if shard.state == "OPENING" {
            shard.opening = shard.opening.saturating_sub(1);
            if shard.opening == 0 {
                shard.state = "ACTIVE";
            }
        }
        let (begin, end) = (format!("{:032X}", shard.begin), format!("{:032X}", shard.end));
        shards.push(json!({
            "ShardId": id.to_string(), "State": shard.state, "BeginHashKey": begin, "EndHashKey": end,
            "ParentShardIds": shard.parents.iter().map(u32::to_string).collect::<Vec<_>>(), "LeftShardId": "4294967295", "RightShardId": "4294967295",
        }));
    }
    Ok(Answer::json(200, &json!({ "Shards": shards, "Protocol": "http1.1", "Interval": 60_000 })))
}

/// Counts a put as it comes, and waits a little, so that requests that overlap are seen.
async fn enter(state: &Mutex<State>, name: &str, shard: u32) -> Result<Option<Fault>, Refusal> {
    let fault = {
        let mut state = lock(state);
        state.puts.send_modify(|puts| *puts += 1);
        let fault = state.faults.pop_front().flatten();
        let topic = state.topic_mut(name)?;
        let Some(found) = topic.shards.get_mut(&shard) else {
            return Err((400, "NoSuchShard", format!("Shard is not exist: {PROJECT}/{name}/{shard}")));
        };
        if found.in_flight > 0 {
            state.violations.push(format!("two requests at once for shard {shard} of {name}"));
        } else {
            found.in_flight = 1;
        }
        fault
    };
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let mut state = lock(state);
    let shard = state.topics.get_mut(name).and_then(|topic| topic.shards.get_mut(&shard));
    if let Some(shard) = shard {
        shard.in_flight = 0;
        if shard.state != "ACTIVE" {
            return Err((400, "InvalidShardOperation", "Shard is closed".into()));
        }
    }
    Ok(fault)
}

async fn put_framed(
    state: &Mutex<State>,
    name: &str,
    shard: &str,
    body: &[u8],
    batches: bool,
) -> Result<Option<Answer>, Refusal> {
    let shard = shard.parse().map_err(|_| (400, "InvalidShardId", format!("Invalid shard id: {shard}")))?;
    let fault = enter(state, name, shard).await?;
    match fault {
        Some(Fault::Refuse(status, code)) => return Err((status, code, "on purpose".into())),
        Some(Fault::LoseRequest) => return Ok(None),
        _ => {}
    }
    let message = framed(body)?;
    {
        let mut state = lock(state);
        let topic = state.topic_mut(name)?;
        let sent = if batches { batch_of(message, &topic.fields)? } else { records(message)? };
        check_count(&sent)?;
        // All records or none.
        if let Some(why) = sent.iter().find_map(|record| topic.misfit(record)) {
            return Err((400, "MalformedRecord", why));
        }
        match batches {
            true => topic.store_batch(shard, sent),
            false => sent.into_iter().for_each(|record| topic.store(shard, record)),
        }
    }
    let mut body = frame(&[8, 0]);
    match fault {
        Some(Fault::LoseAnswer) => return Ok(None),
        Some(Fault::DamageAnswer) => body[13] ^= 1,
        _ => {}
    }
    Ok(Some(Answer { status: 200, content_type: "application/x-protobuf", body }))
}

/// The records of a `PutBinaryRecordsRequest` with one batch.
fn batch_of(message: &[u8], of: &[(String, String)]) -> Result<Vec<Sent>, Refusal> {
    let wrong = || (400, "InvalidParameter", "the message cannot be read".to_owned());
    let entries = fields(message).ok_or_else(wrong)?;
    let [(1, entry)] = entries.as_slice() else { return Err(wrong()) };
    let parts = fields(entry).ok_or_else(wrong)?;
    let [(6, batch)] = parts.as_slice() else { return Err(wrong()) };
    batch::decode(batch, of)
}

fn check_count(sent: &[Sent]) -> Result<(), Refusal> {
    match sent.len() {
        1..=10_000 => Ok(()),
        _ => Err((400, "InvalidParameter", "Record count".into())),
    }
}

async fn put_json(state: &Mutex<State>, name: &str, body: &[u8]) -> Result<Option<Answer>, Refusal> {
    let wrong = |why: &str| (400, "InvalidParameter", why.to_owned());
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("no JSON"))?;
    if body["Action"].as_str() != Some("pub") {
        return Err(wrong("Action"));
    }
    let list = body["Records"].as_array().ok_or_else(|| wrong("Records"))?;
    let mut sent: Vec<(u32, Sent)> = Vec::new();
    for record in list {
        let shard = record["ShardId"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| wrong("ShardId"))?;
        let data = record["Data"].as_array().ok_or_else(|| wrong("Data"))?;
        if data.iter().any(|value| !value.is_string() && !value.is_null()) {
            return Err(wrong("values are text"));
        }
        let values = data.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let attributes = record["Attributes"].as_object().into_iter().flatten().filter_map(pair).collect();
        sent.push((shard, (values, attributes)));
    }
    let Some(&(shard, _)) = sent.first() else { return Err(wrong("no records")) };
    if sent.iter().any(|(other, _)| *other != shard) {
        lock(state).violations.push("a request with records of several shards loses their order".into());
    }
    let fault = enter(state, name, shard).await?;
    let refused = match fault {
        Some(Fault::Refuse(status, code)) => return Err((status, code, "on purpose".into())),
        Some(Fault::LoseRequest) => return Ok(None),
        Some(Fault::Partly(places, code)) => Some((places, code)),
        _ => None,
    };
    let mut failed = Vec::new();
    let mut state = lock(state);
    let topic = state.topic_mut(name)?;
    for (index, (shard, record)) in sent.into_iter().enumerate() {
        let on_purpose = refused.as_ref().filter(|(places, _)| places.contains(&index)).map(|(_, code)| *code);
        let why = topic.misfit(&record);
        match (on_purpose, why) {
            (Some(code), _) => failed.push(json!({ "Index": index, "ErrorCode": code, "ErrorMessage": "on purpose" })),
            (None, Some(why)) => {
                failed.push(json!({ "Index": index, "ErrorCode": "MalformedRecord", "ErrorMessage": why }));
            }
            (None, None) => topic.store(shard, record),
        }
    }
    let body = json!({ "FailedRecordCount": failed.len(), "FailedRecords": failed });
    Ok(Some(Answer::json(200, &body)))
}
