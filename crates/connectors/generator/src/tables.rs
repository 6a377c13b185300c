//! The tables of the shop.

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dujiang_core::schema::{KeyEquality, LOGICAL_ENUM, field};
use dujiang_core::{TableId, TableSchema};
use std::sync::Arc;

/// The database they are in.
pub(crate) const DATABASE: &str = "shop";
/// What happens to `customers`.
pub(crate) const ALTER: &str = "ALTER TABLE shop.customers ADD COLUMN loyalty_points INT NULL";

/// One of the shop's tables, in the order in which the snapshot reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Customers,
    Products,
    Orders,
    OrderItems,
    Payments,
}

impl Table {
    pub(crate) const ALL: [Table; 5] =
        [Table::Customers, Table::Products, Table::Orders, Table::OrderItems, Table::Payments];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Customers => "customers",
            Table::Products => "products",
            Table::Orders => "orders",
            Table::OrderItems => "order_items",
            Table::Payments => "payments",
        }
    }

    pub(crate) fn id(self) -> TableId {
        TableId::new(DATABASE, self.name())
    }

    /// The table's shape, before or after the `ALTER TABLE`.
    pub(crate) fn schema(self, altered: bool) -> Arc<TableSchema> {
        let mut fields = self.fields();
        let mut version = 1;
        if self == Table::Customers && altered {
            fields.push(field("loyalty_points", DataType::Int32, true, "int(11)", None));
            version = 2;
        }
        let key = if self == Table::OrderItems { vec![0, 1] } else { vec![0] };
        let arrow = Arc::new(Schema::new(fields));
        Arc::new(TableSchema { id: self.id(), version, arrow, key, key_equality: KeyEquality::ByValue })
    }

    fn fields(self) -> Vec<Field> {
        match self {
            Table::Customers => vec![
                big("id"),
                text("name", false, "varchar(80)"),
                text("email", true, "varchar(120)"),
                text("city", false, "varchar(40)"),
                field("created_at", instant(), false, "timestamp(3)", None),
            ],
            Table::Products => vec![
                field("id", DataType::UInt32, false, "int(10) unsigned", None),
                text("name", false, "varchar(80)"),
                money("price", 10),
                field("stock", DataType::Int32, false, "int(11)", None),
                field("weight_kg", DataType::Float64, false, "double", None),
            ],
            Table::Orders => vec![
                big("id"),
                big("customer_id"),
                choice("status", "enum('new','paid','shipped','cancelled')"),
                money("total", 12),
                field("placed_at", DataType::Timestamp(TimeUnit::Microsecond, None), false, "datetime(6)", None),
            ],
            Table::OrderItems => vec![
                big("order_id"),
                field("line", DataType::UInt16, false, "smallint(5) unsigned", None),
                field("product_id", DataType::UInt32, false, "int(10) unsigned", None),
                field("quantity", DataType::Int32, false, "int(11)", None),
                money("price", 10),
            ],
            Table::Payments => vec![
                big("id"),
                big("order_id"),
                money("amount", 12),
                choice("method", "enum('card','transfer','cash')"),
                field("paid_on", DataType::Date32, false, "date", None),
                text("note", true, "varchar(200)"),
            ],
        }
    }
}

fn big(name: &str) -> Field {
    field(name, DataType::UInt64, false, "bigint(20) unsigned", None)
}

fn text(name: &str, nullable: bool, source_type: &str) -> Field {
    field(name, DataType::Utf8, nullable, source_type, None)
}

fn choice(name: &str, source_type: &str) -> Field {
    field(name, DataType::Utf8, false, source_type, Some(LOGICAL_ENUM))
}

fn money(name: &str, digits: u8) -> Field {
    field(name, DataType::Decimal128(digits, 2), false, &format!("decimal({digits},2)"), None)
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
