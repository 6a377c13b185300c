//! Subscriptions.

use super::http::Answer;
use super::read::Refusal;
use super::state::{NEVER, State};
use serde_json::{Value, json};

fn wrong(why: &str) -> Refusal {
    (400, "InvalidParameter", why.to_owned())
}

pub(super) fn carry_out(state: &mut State, topic: &str, id: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("no JSON"))?;
    let key = (topic.to_owned(), id.to_owned());
    let gone = || (404, "NoSuchSubscription", format!("The specified subscription does not exist: {id}"));
    let subscription = state.subscriptions.get_mut(&key).ok_or_else(gone)?;
    match body["Action"].as_str().unwrap_or_default() {
        "open" => {
            let shards = body["ShardIds"].as_array().ok_or_else(|| wrong("ShardIds"))?;
            let mut offsets = serde_json::Map::new();
            for shard in shards.iter().filter_map(Value::as_str) {
                let offset = subscription.0.entry(shard.to_owned()).or_insert(NEVER);
                offset.session += 1;
                let told = json!({ "Sequence": offset.sequence, "Timestamp": offset.timestamp, "Version": offset.version,
                                   "SessionId": offset.session, "BatchIndex": offset.batch_index });
                offsets.insert(shard.to_owned(), told);
            }
            Ok(Answer::json(200, &json!({ "Offsets": offsets })))
        }
        "commit" => {
            let offsets = body["Offsets"].as_object().ok_or_else(|| wrong("Offsets"))?;
            for (shard, told) in offsets {
                let number = |key: &str| told[key].as_i64().ok_or_else(|| wrong(key));
                let known = subscription.0.get_mut(shard).ok_or_else(|| wrong("not opened"))?;
                if number("SessionId")? != known.session {
                    return Err((400, "OffsetSessionChanged", "The offset session is changed".into()));
                }
                if number("Version")? != known.version {
                    return Err((400, "OffsetReseted", "The offset is reset".into()));
                }
                let (sequence, timestamp) = (number("Sequence")?, number("Timestamp")?);
                let record = shard.parse().ok().and_then(|shard: u32| state.topics.get(topic)?.shards.get(&shard));
                let record = record.and_then(|shard| {
                    let at = (usize::try_from(sequence).ok()?, usize::try_from(told["BatchIndex"].as_i64()?).ok()?);
                    shard.records.get(shard.place(at)).filter(|found| (found.sequence, found.batch_index) == at)
                });
                if record.is_none_or(|record| record.millis != timestamp) {
                    state.violations.push(format!("{sequence} and {timestamp} are not of one record"));
                }
                (known.sequence, known.timestamp, known.batch_index) = (sequence, timestamp, number("BatchIndex")?);
            }
            Ok(Answer::json(200, &json!({})))
        }
        other => Err(wrong(other)),
    }
}
