//! What tests do to a service whose records are read.

use super::service::{Datahub, lock};
use super::state::{Fault, Subscription};
use std::collections::BTreeMap;

impl Datahub {
    /// Makes a topic whose records are bytes.
    pub fn make_blob_topic(&self, name: &str, shards: u32) {
        self.make_topic(name, &[("content", "STRING")], shards);
        if let Some(topic) = lock(&self.state).topics.get_mut(name) {
            topic.blob = true;
        }
    }

    /// Makes a topic anew, empty and of another time.
    ///
    /// # Panics
    /// Without such a topic.
    pub fn remake(&self, name: &str) {
        let (fields, created) = {
            let state = lock(&self.state);
            let topic = &state.topics[name];
            (topic.fields.clone(), topic.created)
        };
        let fields: Vec<_> = fields.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
        self.make_topic(name, &fields, 1);
        if let Some(topic) = lock(&self.state).topics.get_mut(name) {
            topic.created = created + 1;
        }
    }

    /// Appends a field to a topic.
    ///
    /// # Panics
    /// Without such a topic.
    pub fn append_field(&self, topic: &str, name: &str, kind: &str) {
        let mut state = lock(&self.state);
        state.topics.get_mut(topic).expect("the topic is there").fields.push((name.to_owned(), kind.to_owned()));
    }

    /// Puts a record into a shard.
    ///
    /// # Panics
    /// Without such a topic or shard.
    pub fn put(&self, topic: &str, shard: u32, values: &[Option<&str>], attributes: &[(&str, &str)]) {
        let values = values.iter().map(|value| value.map(str::to_owned)).collect();
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut state = lock(&self.state);
        state.topics.get_mut(topic).expect("the topic is there").store(shard, (values, attributes));
    }

    /// Puts a record into the open shard that takes a key: one of 256 that are spread over all hashes.
    ///
    /// # Panics
    /// Without such a topic or an open shard for the key.
    pub fn put_key(&self, topic: &str, key: u8, values: &[Option<&str>]) {
        let hash = u128::from(key) << 120;
        let shard = {
            let state = lock(&self.state);
            let mut shards = state.topics[topic].shards.iter();
            let takes = shards.find(|(_, shard)| shard.state == "ACTIVE" && shard.begin <= hash && hash < shard.end);
            *takes.expect("an open shard").0
        };
        self.put(topic, shard, values, &[]);
    }

    /// Puts records of one value each into a shard, as one batch.
    ///
    /// # Panics
    /// Without such a topic or shard.
    pub fn put_batch(&self, topic: &str, shard: u32, rows: &[Vec<Option<String>>]) {
        let mut state = lock(&self.state);
        let rows = rows.iter().map(|values| (values.clone(), Vec::new())).collect();
        state.topics.get_mut(topic).expect("the topic is there").store_batch(shard, rows);
    }

    /// The records of a shard before this number expire.
    ///
    /// # Panics
    /// Without such a topic or shard.
    pub fn expire(&self, topic: &str, shard: u32, first: usize) {
        let mut state = lock(&self.state);
        let topic = state.topics.get_mut(topic).expect("the topic is there");
        topic.shards.get_mut(&shard).expect("the shard is there").first = first;
    }

    /// Puts as many records into a shard, which expire at the same moment: nobody can read them.
    ///
    /// # Panics
    /// Without such a topic or shard.
    pub fn lose(&self, topic: &str, shard: u32, records: usize) {
        let mut state = lock(&self.state);
        let topic = state.topics.get_mut(topic).expect("the topic is there");
        let width = topic.fields.len();
        (0..records).for_each(|_| topic.store(shard, (vec![None; width], Vec::new())));
        let shard = topic.shards.get_mut(&shard).expect("the shard is there");
        shard.first = shard.end();
    }

    /// All cursors that were handed out expire.
    pub fn expire_cursors(&self) {
        lock(&self.state).cursors += 1;
    }

    /// The next requests for records go wrong, one each.
    pub fn fail_reads(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state).read_faults.extend(faults);
    }

    /// Waits until that many more requests for records have been answered.
    ///
    /// # Panics
    /// Never: the count lives as long as the service.
    pub async fn pulled(&self, more: u64) {
        let mut count = lock(&self.state).pulls.subscribe();
        let wanted = *count.borrow() + more;
        count.wait_for(|count| *count >= wanted).await.expect("invariant: the service counts as long as it lives");
    }

    /// Makes a subscription.
    pub fn subscribe(&self, topic: &str, id: &str) {
        lock(&self.state).subscriptions.insert((topic.to_owned(), id.to_owned()), Subscription::default());
    }

    /// The last processed record of each shard that a subscription was opened for.
    pub fn offsets(&self, topic: &str, id: &str) -> BTreeMap<String, i64> {
        let state = lock(&self.state);
        let found = state.subscriptions.get(&(topic.to_owned(), id.to_owned()));
        found.into_iter().flat_map(|found| &found.0).map(|(shard, offset)| (shard.clone(), offset.sequence)).collect()
    }

    /// Resets an offset of a subscription, as an operator does.
    pub fn reset_offset(&self, topic: &str, id: &str, shard: &str, sequence: i64) {
        let mut state = lock(&self.state);
        if let Some(found) = state.subscriptions.get_mut(&(topic.to_owned(), id.to_owned())) {
            found.reset(shard, sequence);
        }
    }
}
