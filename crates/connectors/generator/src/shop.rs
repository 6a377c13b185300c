//! What happens in the shop, computed from the number of a transaction alone.
//!
//! Ten transactions make a cycle: four orders are placed, three paid, one deleted; one customer moves, one is new. Which
//! row each of them touches, and what that row was before, follows from counting; so a reader can begin anywhere.

use crate::tables::Table;

/// Products in the shop.
const PRODUCTS: u64 = 200;
/// Transactions in a cycle, and how they are shared out.
const CYCLE: u64 = 10;
const PLACED: u64 = 4;
const PAID: u64 = 3;
/// Changes of an average transaction, in quarters: four placed with 4, three paid with 2, and so on.
const QUARTERS_PER_TRANSACTION: u64 = 11;
/// 2026-01-01 00:00:00 UTC in microseconds, and as days, since 1970.
const FIRST_DAY_MICROS: i64 = 1_767_225_600_000_000;
const FIRST_DAY: i32 = 20_454;

const CITIES: [&str; 8] = ["Chengdu", "Leiden", "Porto", "Tartu", "Oaxaca", "Nara", "Gdańsk", "Zürich"];
const FIRST: [&str; 8] = ["Li", "Anna", "João", "Mari", "Elena", "Ken", "Zoë", "Omar"];
const LAST: [&str; 8] = ["Bing", "de Vries", "Silva", "Tamm", "Flores", "Ito", "Nowak", "Haddad"];

/// One cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    /// Any whole number, whatever the column's width.
    Whole(i128),
    Float(f64),
    Text(String),
}

pub(crate) type Row = Vec<Cell>;

/// One change of one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub table: Table,
    /// `None` for an insert.
    pub before: Option<Row>,
    /// `None` for a delete.
    pub after: Option<Row>,
}

/// A shop: a pure function from numbers to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shop {
    pub seed: u64,
    /// Customers, and as many orders, of the snapshot.
    pub opening: u64,
    /// The transaction before which `customers` is altered; 0 for never.
    pub alter_after: u64,
    /// Changes a second; 0 without limit.
    pub rate: u32,
}

impl Shop {
    /// Rows that the snapshot finds.
    pub(crate) fn initial_rows(&self, table: Table) -> u64 {
        match table {
            Table::Customers | Table::Orders => self.opening,
            Table::Products => PRODUCTS,
            Table::OrderItems | Table::Payments => 0,
        }
    }

    /// Row number `index` of the snapshot, from 0.
    pub(crate) fn initial(&self, table: Table, index: u64) -> Row {
        match table {
            Table::Customers => self.customer(index + 1, 0, Loyalty::NoColumn),
            Table::Products => self.product(index + 1, 0),
            Table::Orders => self.order(index + 1, "new"),
            Table::OrderItems | Table::Payments => unreachable!("invariant: the shop opens without items and payments"),
        }
    }

    /// When transaction `step` is committed, microseconds after the shop's opening. Without a rate: one a microsecond.
    pub(crate) fn micros_after_opening(&self, step: u64) -> i64 {
        let micros = match u128::from(self.rate) {
            0 => u128::from(step),
            rate => u128::from(step) * u128::from(QUARTERS_PER_TRANSACTION) * 250_000 / rate,
        };
        i64::try_from(micros).unwrap_or(i64::MAX / 4)
    }

    /// The changes of transaction `step`, from 0.
    pub(crate) fn transaction(&self, step: u64) -> Vec<Change> {
        let (cycle, turn) = (step / CYCLE, step % CYCLE);
        match turn {
            0..=3 => self.place_order(cycle * PLACED + turn),
            4..=6 => self.pay_order(cycle * PAID + turn - PLACED + 1),
            7 => self.delete_order(cycle + 1),
            8 => vec![self.move_customer(cycle, step)],
            _ => vec![Change::insert(Table::Customers, self.customer(self.opening + cycle + 1, 0, self.loyalty(step)))],
        }
    }

    /// `number` orders have been placed before, not counting those of the opening.
    fn place_order(&self, number: u64) -> Vec<Change> {
        let order = self.opening + number + 1;
        let mut changes = vec![Change::insert(Table::Orders, self.order(order, "new"))];
        changes.extend(self.lines(order).map(|line| Change::insert(Table::OrderItems, self.item(order, line))));
        let (product, version) = (number % PRODUCTS + 1, number / PRODUCTS);
        changes.push(Change {
            table: Table::Products,
            before: Some(self.product(product, version)),
            after: Some(self.product(product, version + 1)),
        });
        changes
    }

    fn pay_order(&self, order: u64) -> Vec<Change> {
        let update = Change {
            table: Table::Orders,
            before: Some(self.order(order, "new")),
            after: Some(self.order(order, "paid")),
        };
        vec![Change::insert(Table::Payments, self.payment(order)), update]
    }

    /// Orders are deleted in the order in which they were paid, a third as fast.
    fn delete_order(&self, order: u64) -> Vec<Change> {
        let items = self.lines(order).map(|line| Change::delete(Table::OrderItems, self.item(order, line)));
        let mut changes: Vec<Change> = items.collect();
        changes.push(Change::delete(Table::Payments, self.payment(order)));
        changes.push(Change::delete(Table::Orders, self.order(order, "paid")));
        changes
    }

    /// The customers of the opening move one after the other, again and again.
    fn move_customer(&self, cycle: u64, step: u64) -> Change {
        let (customer, version) = (cycle % self.opening + 1, cycle / self.opening);
        let moved_before = step.checked_sub(self.opening * CYCLE);
        let before = match self.loyalty(step) {
            Loyalty::NoColumn => Loyalty::NoColumn,
            // The column was empty until the first move after it came.
            _ => moved_before.map_or(Loyalty::Unset, |step| match self.loyalty(step) {
                Loyalty::NoColumn => Loyalty::Unset,
                other => other,
            }),
        };
        Change {
            table: Table::Customers,
            before: Some(self.customer(customer, version, before)),
            after: Some(self.customer(customer, version + 1, self.loyalty(step))),
        }
    }

    /// What transaction `step` writes into the column that comes with the `ALTER TABLE`.
    fn loyalty(&self, step: u64) -> Loyalty {
        if self.is_altered(step) { Loyalty::Points } else { Loyalty::NoColumn }
    }

    /// Whether transaction `step` comes after the `ALTER TABLE`.
    pub(crate) fn is_altered(&self, step: u64) -> bool {
        self.alter_after != 0 && step >= self.alter_after
    }

    fn customer(&self, id: u64, version: u64, loyalty: Loyalty) -> Row {
        let draw = self.draw(Table::Customers, id, 0);
        let email = if draw.is_multiple_of(5) { Cell::Null } else { Cell::Text(format!("c{id}@example.org")) };
        let name = format!("{} {}", pick(&FIRST, draw >> 8), pick(&LAST, draw >> 16));
        let city = pick(&CITIES, self.draw(Table::Customers, id, 1 + version));
        let created = FIRST_DAY_MICROS + i64::try_from(id).unwrap_or(0) * 1_000;
        let mut row =
            vec![whole(id), Cell::Text(name), email, Cell::Text(city.to_owned()), Cell::Whole(i128::from(created))];
        match loyalty {
            Loyalty::NoColumn => {}
            Loyalty::Unset => row.push(Cell::Null),
            Loyalty::Points => row.push(whole(self.draw(Table::Customers, id, version) % 1_000)),
        }
        row
    }

    fn product(&self, id: u64, version: u64) -> Row {
        let weight = (self.draw(Table::Products, id, 1) % 2_000) as f64 / 64.0;
        let stock = 10_000 - (version * 3) % 10_000;
        vec![whole(id), Cell::Text(format!("Product {id}")), whole(self.price(id)), whole(stock), Cell::Float(weight)]
    }

    /// In hundredths.
    fn price(&self, product: u64) -> u64 {
        100 + self.draw(Table::Products, product, 0) % 30_000
    }

    fn order(&self, id: u64, status: &str) -> Row {
        let customer = self.draw(Table::Orders, id, 0) % self.opening + 1;
        let placed = FIRST_DAY_MICROS + i64::try_from(id).unwrap_or(0) * 1_000_003;
        let (customer, total) = (whole(customer), whole(self.total(id)));
        vec![whole(id), customer, Cell::Text(status.to_owned()), total, Cell::Whole(i128::from(placed))]
    }

    fn total(&self, order: u64) -> u64 {
        let lines = self.lines(order).map(|line| self.quantity(order, line) * self.price(self.product_of(order, line)));
        let sum: u64 = lines.sum();
        if sum == 0 { 100 + self.draw(Table::Orders, order, 1) % 30_000 } else { sum }
    }

    /// The lines of an order; those of the opening have none.
    fn lines(&self, order: u64) -> std::ops::RangeInclusive<u64> {
        let count = if order <= self.opening { 0 } else { 1 + self.draw(Table::OrderItems, order, 0) % 3 };
        1..=count
    }

    fn product_of(&self, order: u64, line: u64) -> u64 {
        (order - self.opening - 1 + (line - 1) * 67) % PRODUCTS + 1
    }

    fn quantity(&self, order: u64, line: u64) -> u64 {
        1 + self.draw(Table::OrderItems, order, line) % 4
    }

    fn item(&self, order: u64, line: u64) -> Row {
        let product = self.product_of(order, line);
        vec![whole(order), whole(line), whole(product), whole(self.quantity(order, line)), whole(self.price(product))]
    }

    fn payment(&self, order: u64) -> Row {
        let draw = self.draw(Table::Payments, order, 0);
        let method = pick(&["card", "transfer", "cash"], draw);
        let note = if (draw >> 8).is_multiple_of(3) { Cell::Text("thank you".to_owned()) } else { Cell::Null };
        let day = i128::from(FIRST_DAY) + i128::from(order % 365);
        let amount = whole(self.total(order));
        vec![whole(order), whole(order), amount, Cell::Text(method.to_owned()), Cell::Whole(day), note]
    }

    /// A number that depends on nothing else than the seed and these.
    fn draw(&self, table: Table, id: u64, salt: u64) -> u64 {
        let place = (table as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mix(mix(mix(self.seed ^ place) ^ id) ^ salt)
    }
}

impl Change {
    fn insert(table: Table, row: Row) -> Self {
        Self { table, before: None, after: Some(row) }
    }

    fn delete(table: Table, row: Row) -> Self {
        Self { table, before: Some(row), after: None }
    }
}

/// What stands in the column `loyalty_points`.
#[derive(Clone, Copy)]
enum Loyalty {
    NoColumn,
    Unset,
    Points,
}

/// The finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn pick<'a>(choices: &[&'a str], draw: u64) -> &'a str {
    choices[(draw % choices.len() as u64) as usize]
}

fn whole(number: u64) -> Cell {
    Cell::Whole(i128::from(number))
}
