//! TABLE_MAP_EVENT: which table the row events that follow belong to, and the wire types of its columns.

use super::cursor::{Cursor, Malformed};

/// Numbers of the collations of character columns: one for each, or a default and exceptions (index, collation).
#[derive(Debug, Clone, Copy)]
pub enum Charsets<'a> {
    /// One for each.
    Each(&'a [u8]),
    /// A default, then pairs.
    Default(&'a [u8]),
}

/// A table map, borrowed from its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMap<'a> {
    /// The server's number for the table, valid until the next table map with that number.
    pub table_id: u64,
    /// Flags (nothing of interest so far).
    pub flags: u16,
    /// Database.
    pub database: &'a str,
    /// Table.
    pub table: &'a str,
    /// One wire type per column.
    pub types: &'a [u8],
    /// Type-dependent bytes, column after column.
    pub metadata: &'a [u8],
    /// One bit per column: may be NULL.
    pub nullable: &'a [u8],
    /// Optional metadata (`binlog_row_metadata`), TLV.
    pub optional: &'a [u8],
    /// Whether the server that wrote it prints whole floating numbers in JSON without a point: MySQL before 8.
    pub old_json: bool,
}

impl<'a> TableMap<'a> {
    /// Reads the body of a table map event. `id_bytes`: 6, or 4 with very old servers.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn parse(body: &'a [u8], id_bytes: usize) -> Result<Self, Malformed> {
        let mut c = Cursor::new(body, "a table map");
        let table_id = c.uint(id_bytes)?;
        let flags = c.u16()?;
        let length = c.u8()?;
        let database = c.text(length.into())?;
        c.take(1)?;
        let length = c.u8()?;
        let table = c.text(length.into())?;
        c.take(1)?;
        let columns = c.length()?;
        let types = c.take(columns)?;
        let metadata = c.lenenc_bytes()?;
        let nullable = c.take(columns.div_ceil(8))?;
        Ok(Self {
            table_id,
            flags,
            database,
            table,
            types,
            metadata,
            nullable,
            optional: c.take_rest(),
            old_json: false,
        })
    }

    /// The column names, if the server writes them (`binlog_row_metadata=FULL`).
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn column_names(&self) -> Result<Option<Vec<&'a str>>, Malformed> {
        let Some(field) = self.optional_field(FIELD_COLUMN_NAME)? else { return Ok(None) };
        let mut c = Cursor::new(field, "the column names of a table map");
        let mut names = Vec::with_capacity(self.types.len());
        while !c.is_empty() {
            let n = c.length()?;
            names.push(c.text(n)?);
        }
        if names.len() == self.types.len() { Ok(Some(names)) } else { Err(c.malformed()) }
    }

    /// For each **numeric** column in order whether it is unsigned, if the server writes it (it does unless told
    /// `binlog_row_metadata=NO_LOG`). One bit per numeric column, most significant first.
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn signedness(&self) -> Result<Option<&'a [u8]>, Malformed> {
        self.optional_field(FIELD_SIGNEDNESS)
    }

    /// The labels of each ENUM column in order, if the server writes them (`binlog_row_metadata=FULL`), in the columns'
    /// character sets.
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn enum_labels(&self) -> Result<Option<Labels<'a>>, Malformed> {
        Ok(self.optional_field(FIELD_ENUM_LABELS)?.map(Labels))
    }

    /// The labels of each SET column; see [`TableMap::enum_labels`].
    ///
    /// # Errors
    /// As there.
    pub fn set_labels(&self) -> Result<Option<Labels<'a>>, Malformed> {
        Ok(self.optional_field(FIELD_SET_LABELS)?.map(Labels))
    }

    /// The collations of the character columns, if the server writes them.
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn charsets(&self) -> Result<Option<Charsets<'a>>, Malformed> {
        self.charsets_of(FIELD_DEFAULT_CHARSET, FIELD_COLUMN_CHARSET)
    }

    /// The collations of the ENUM and SET columns, if the server writes them.
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn label_charsets(&self) -> Result<Option<Charsets<'a>>, Malformed> {
        self.charsets_of(FIELD_LABEL_DEFAULT_CHARSET, FIELD_LABEL_COLUMN_CHARSET)
    }

    fn charsets_of(&self, default: u8, each: u8) -> Result<Option<Charsets<'a>>, Malformed> {
        if let Some(bytes) = self.optional_field(default)? {
            return Ok(Some(Charsets::Default(bytes)));
        }
        Ok(self.optional_field(each)?.map(Charsets::Each))
    }

    /// The columns of the primary key, if the server writes them (`binlog_row_metadata=FULL`).
    ///
    /// # Errors
    /// When the optional metadata does not hold together.
    pub fn primary_key(&self) -> Result<Option<Vec<usize>>, Malformed> {
        let Some(field) = self.optional_field(FIELD_PRIMARY_KEY)? else { return Ok(None) };
        let mut c = Cursor::new(field, "the primary key of a table map");
        let mut columns = Vec::new();
        while !c.is_empty() {
            columns.push(c.lenenc()? as usize);
        }
        if columns.iter().all(|at| *at < self.types.len()) { Ok(Some(columns)) } else { Err(c.malformed()) }
    }

    /// The value of the optional field of that type; unknown fields are passed over, they only add detail.
    fn optional_field(&self, wanted: u8) -> Result<Option<&'a [u8]>, Malformed> {
        let mut c = Cursor::new(self.optional, "the optional metadata of a table map");
        while !c.is_empty() {
            let field = c.u8()?;
            let value = c.lenenc_bytes()?;
            if field == wanted {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// A table map on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedTableMap {
    database: String,
    table: String,
    types: Vec<u8>,
    metadata: Vec<u8>,
    nullable: Vec<u8>,
    optional: Vec<u8>,
    old_json: bool,
}

impl OwnedTableMap {
    /// A copy.
    pub fn of(map: &TableMap<'_>) -> Self {
        Self {
            database: map.database.to_owned(),
            table: map.table.to_owned(),
            types: map.types.to_vec(),
            metadata: map.metadata.to_vec(),
            nullable: map.nullable.to_vec(),
            optional: map.optional.to_vec(),
            old_json: map.old_json,
        }
    }

    /// The table map, without its number and flags.
    pub fn map(&self) -> TableMap<'_> {
        TableMap {
            table_id: 0,
            flags: 0,
            database: &self.database,
            table: &self.table,
            types: &self.types,
            metadata: &self.metadata,
            nullable: &self.nullable,
            optional: &self.optional,
            old_json: self.old_json,
        }
    }
}

/// Labels of the ENUM or SET columns of a table map.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// The labels of the next column; `None` after the last one.
    ///
    /// # Errors
    /// When the bytes do not hold together.
    pub fn next_column(&mut self) -> Result<Option<Vec<&'a [u8]>>, Malformed> {
        let mut c = Cursor::new(self.0, "the labels of a table map");
        if c.is_empty() {
            return Ok(None);
        }
        let count = c.length()?;
        // Each label takes a byte at least.
        if count > c.rest().len() {
            return Err(c.malformed());
        }
        let labels = (0..count).map(|_| c.lenenc_bytes()).collect::<Result<_, _>>()?;
        self.0 = c.rest();
        Ok(Some(labels))
    }
}

// Optional metadata fields, `Table_map_event::Optional_metadata_field_type` in MySQL's libbinlogevents.
const FIELD_SIGNEDNESS: u8 = 1;
const FIELD_DEFAULT_CHARSET: u8 = 2;
const FIELD_COLUMN_CHARSET: u8 = 3;
const FIELD_COLUMN_NAME: u8 = 4;
const FIELD_SET_LABELS: u8 = 5;
const FIELD_ENUM_LABELS: u8 = 6;
const FIELD_PRIMARY_KEY: u8 = 8;
const FIELD_LABEL_DEFAULT_CHARSET: u8 = 10;
const FIELD_LABEL_COLUMN_CHARSET: u8 = 11;
