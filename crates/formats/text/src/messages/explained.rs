//! The schema that Debezium's messages carry: how it says that the values of columns are written.

use super::fault::Fault;
use super::reading::Reading;
use super::scan::{Items, Members, Raw, Shape};
use dujiang_core::TableSchema;

/// The readings of a table's columns by the schema of the message at hand. It is the same in nearly every message.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// Whether the message at hand has a schema.
    at_hand: bool,
    /// The last one read.
    schema: String,
    readings: Vec<Reading>,
}

impl Explained {
    /// None if the message at hand has no schema.
    pub(super) fn readings(&self) -> Option<&[Reading]> {
        self.at_hand.then_some(self.readings.as_slice())
    }
}

/// Reads the schema of a message, unless it is that of the message before.
pub(super) fn explain(
    explained: &mut Explained,
    text: &str,
    schema: Option<Raw>,
    table: &TableSchema,
    plain: &[Reading],
) -> Result<(), Fault> {
    explained.at_hand = schema.is_some();
    let Some(schema) = schema else { return Ok(()) };
    if explained.schema == schema.json(text) {
        return Ok(());
    }
    explained.schema.clear();
    explained.readings = plain.to_vec();
    if let Some(row) = row_schema(text, schema)? {
        let mut columns = Items::of(text, row);
        while let Some(column) = columns.next()? {
            let [literal, semantic, name] = texts(text, column, ["type", "name", "field"])?;
            if let Some(index) = table.arrow.fields().iter().position(|field| *field.name() == name) {
                explained.readings[index] = plain[index].explained(&literal, &semantic);
            }
        }
    }
    explained.schema.push_str(schema.json(text));
    Ok(())
}

/// The fields of the row: those of the member `after`, or `before`, whichever comes first.
fn row_schema(text: &str, schema: Raw) -> Result<Option<Raw>, Fault> {
    let Some(images) = member(text, schema, "fields")? else { return Ok(None) };
    let mut images = Items::of(text, images);
    while let Some(image) = images.next()? {
        let [name] = texts(text, image, ["field"])?;
        if matches!(name.as_str(), "before" | "after") {
            return member(text, image, "fields");
        }
    }
    Ok(None)
}

/// An array that an object has under a name.
fn member(text: &str, object: Raw, wanted: &str) -> Result<Option<Raw>, Fault> {
    if object.shape != Shape::Object {
        return Ok(None);
    }
    let mut members = Members::of(text, object);
    let mut scratch = Vec::new();
    while let Some((name, value)) = members.next()? {
        if value.shape == Shape::Array && name.text(text, &mut scratch)? == wanted {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The texts that an object has under some names; empty where there is none.
fn texts<const N: usize>(text: &str, object: Raw, names: [&str; N]) -> Result<[String; N], Fault> {
    let mut found = names.map(|_| String::new());
    if object.shape != Shape::Object {
        return Ok(found);
    }
    let mut members = Members::of(text, object);
    let mut scratch = Vec::new();
    while let Some((name, value)) = members.next()? {
        let place = names.iter().position(|wanted| name.text(text, &mut scratch).is_ok_and(|name| name == *wanted));
        if let Some(place) = place.filter(|_| value.shape == Shape::String) {
            found[place] = value.text(text, &mut scratch)?.to_owned();
        }
    }
    Ok(found)
}
