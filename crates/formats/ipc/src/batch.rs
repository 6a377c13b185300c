//! Batches.

use crate::metadata;
use crate::schema::read_schema;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_data::{BufferSpec, layout};
use arrow_ipc::FieldNode;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_schema::{DataType, SchemaRef};
use std::collections::HashMap;

/// Reads batches of one schema.
#[derive(Debug)]
pub struct Batches {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Batches {
    /// Of the schema in a message; `None` as [`read_schema`].
    pub fn of(schema: &[u8]) -> Option<Self> {
        Some(Self { schema: read_schema(schema)?, dictionaries: HashMap::new() })
    }

    /// The schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Reads dictionaries and one batch; nothing may follow. `None` when it cannot be read.
    pub fn read(&mut self, bytes: &Buffer) -> Option<RecordBatch> {
        let mut rest = bytes.clone();
        loop {
            let (message, length) = metadata(&rest)?;
            let body_length = usize::try_from(message.bodyLength()).ok()?;
            let end = length.checked_add(body_length).filter(|&end| end <= rest.len())?;
            let body = rest.slice_with_length(length, body_length);
            let version = message.version();
            if let Some(batch) = message.header_as_record_batch() {
                let types = self.schema.fields().iter().map(|field| field.data_type());
                is_sound(&batch, types, body_length).then_some(())?;
                let (schema, dictionaries) = (self.schema.clone(), &self.dictionaries);
                let rows = read_record_batch(&body, batch, schema, dictionaries, None, &version).ok()?;
                return (end == rest.len()).then_some(rows);
            }
            let dictionary = message.header_as_dictionary_batch()?;
            let data = dictionary.data()?;
            let mut values = Vec::new();
            self.schema.fields().iter().for_each(|field| dictionaries_of(field.data_type(), &mut values));
            let mut values = values.into_iter().map(std::iter::once);
            values.any(|values| is_sound(&data, values, body_length)).then_some(())?;
            read_dictionary(&body, dictionary, &self.schema, &mut self.dictionaries, &version).ok()?;
            let after = rest.slice(end);
            rest = after;
        }
    }
}

/// Arrow's reader believes what a message says of its body: that its buffers lie in it and hold whole values, and that the mask of
/// NULLs is as long as its column.
fn is_sound<'a>(batch: &arrow_ipc::RecordBatch<'_>, types: impl Iterator<Item = &'a DataType>, body: usize) -> bool {
    if batch.compression().is_some() {
        return false;
    }
    let lies_within = |buffer: &arrow_ipc::Buffer| {
        let length = usize::try_from(buffer.length()).ok()?;
        let end = usize::try_from(buffer.offset()).ok()?.checked_add(length)?;
        (end <= body).then_some(length)
    };
    let buffers = batch.buffers().and_then(|buffers| buffers.iter().map(lies_within).collect::<Option<Vec<_>>>());
    let (Some(buffers), Some(nodes)) = (buffers, batch.nodes()) else { return false };
    let (mut buffers, mut nodes) = (buffers.into_iter(), nodes.iter());
    types.map(|data_type| masks_fit(data_type, &mut nodes, &mut buffers)).all(|fits| fits.is_some())
}

fn masks_fit(
    data_type: &DataType,
    nodes: &mut dyn Iterator<Item = &FieldNode>,
    buffers: &mut dyn Iterator<Item = usize>,
) -> Option<()> {
    let (node, layout) = (nodes.next()?, layout(data_type));
    let length = u32::try_from(node.length()).ok()?;
    let nulls = u32::try_from(node.null_count()).ok().filter(|nulls| *nulls <= length)?;
    if layout.can_contain_null_mask {
        let mask = buffers.next()?;
        (nulls == 0 || mask >= length.div_ceil(8) as usize).then_some(())?;
    }
    for buffer in &layout.buffers {
        let found = buffers.next()?;
        if let BufferSpec::FixedWidth { alignment, .. } = buffer {
            found.is_multiple_of(*alignment).then_some(())?;
        }
    }
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => masks_fit(item.data_type(), nodes, buffers),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| masks_fit(field.data_type(), nodes, buffers)),
        _ => Some(()),
    }
}

/// What the dictionaries of a column hold.
fn dictionaries_of<'a>(data_type: &'a DataType, values: &mut Vec<&'a DataType>) {
    match data_type {
        DataType::Dictionary(_, held) => values.push(held),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => dictionaries_of(item.data_type(), values),
        DataType::Struct(fields) => fields.iter().for_each(|field| dictionaries_of(field.data_type(), values)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::StringArray;
    use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
    use arrow_schema::{Field, Schema};
    use std::sync::Arc;

    /// Found by fuzzing: offsets of a text column that end amid a number.
    #[test]
    fn a_buffer_that_ends_amid_a_value_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec!["x", "yz"]))]).unwrap();
        let (generator, options) = (IpcDataGenerator::default(), IpcWriteOptions::default());
        let mut tracker = DictionaryTracker::new(false);
        let mut bytes = Vec::new();
        let encoded = generator.encode(&rows, &mut tracker, &options, &mut Default::default()).unwrap().1;
        write_message(&mut bytes, encoded, &options).unwrap();
        let mut batches = Batches { schema, dictionaries: HashMap::new() };
        assert_eq!(batches.read(&Buffer::from(bytes.as_slice())), Some(rows));
        // Three offsets of four bytes, and one byte more: the length of the buffer, as the message tells it.
        let told = bytes.windows(8).position(|window| window == 12_u64.to_le_bytes()).unwrap();
        bytes[told] = 13;
        assert_eq!(batches.read(&Buffer::from(bytes)), None);
    }
}
