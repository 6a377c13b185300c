//! The workload of the demo: a small shop on a real server, as SQL text.
//!
//! Five tables (`customers`, `products`, `orders`, `order_items`, `payments`); transactions over up to five of them;
//! inserts, updates, deletes, some rollbacks; and one `ALTER TABLE` after a while. The `generator` source plays the same
//! shop without a server.

use crate::random::Random;
use std::fmt::Write;

/// The database that [`schema_sql`] creates.
pub const DATABASE: &str = "shop";
/// The tables in it.
pub const TABLES: [&str; 5] = ["customers", "products", "orders", "order_items", "payments"];
/// What [`Load`] does to the schema, once.
pub const ALTER: &str = "ALTER TABLE shop.customers ADD COLUMN loyalty_points INT NULL";

const PRODUCTS: u64 = 200;
const CITIES: [&str; 8] = ["Chengdu", "Leiden", "Porto", "Tartu", "Oaxaca", "Nara", "Gdańsk", "Zürich"];
const FIRST: [&str; 8] = ["Li", "Anna", "João", "Mari", "Elena", "Ken", "Zoë", "Omar"];
const LAST: [&str; 8] = ["Bing", "de Vries", "Silva", "Tamm", "Flores", "Ito", "Nowak", "Haddad"];

/// Creates the database and its tables.
pub fn schema_sql() -> &'static str {
    "CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE TABLE shop.customers (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  email VARCHAR(120) NULL,
  city VARCHAR(40) NOT NULL,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3));
CREATE TABLE shop.products (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  stock INT NOT NULL,
  weight_kg DOUBLE NOT NULL);
CREATE TABLE shop.orders (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  customer_id BIGINT UNSIGNED NOT NULL,
  status ENUM('new','paid','shipped','cancelled') NOT NULL,
  total DECIMAL(12,2) NOT NULL,
  placed_at DATETIME(6) NOT NULL,
  KEY (customer_id));
CREATE TABLE shop.order_items (
  order_id BIGINT UNSIGNED NOT NULL,
  line SMALLINT UNSIGNED NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  quantity INT NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  PRIMARY KEY (order_id, line));
CREATE TABLE shop.payments (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  order_id BIGINT UNSIGNED NOT NULL,
  amount DECIMAL(12,2) NOT NULL,
  method ENUM('card','transfer','cash') NOT NULL,
  paid_on DATE NOT NULL,
  note VARCHAR(200) NULL);"
}

/// One transaction of the shop, or its one `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Statements, with `BEGIN` and `COMMIT` or `ROLLBACK` where they belong.
    pub sql: String,
    /// Row changes that become visible by it.
    pub changes: u64,
}

/// An endless, seeded series of transactions; the same seed gives the same series.
///
/// The first ones fill the tables with [`Load::initial`] customers and orders. One session at a time may play it.
pub struct Load {
    random: Random,
    initial: u64,
    alter_after: u64,
    transactions: u64,
    customers: u64,
    orders: u64,
    /// Orders up to this one have been paid or deleted.
    paid: u64,
    /// Orders up to this one have been deleted.
    deleted: u64,
}

impl Load {
    /// The shop of this seed, with 2,000 customers and as many orders at its opening, and the `ALTER TABLE` after
    /// 2,000 more transactions.
    pub fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self {
            random,
            initial: 2_000,
            alter_after: 2_000,
            transactions: 0,
            customers: 0,
            orders: 0,
            paid: 0,
            deleted: 0,
        }
    }

    /// How many customers and orders the shop has before it opens.
    #[must_use]
    pub fn initial(mut self, rows: u64) -> Self {
        self.initial = rows.max(1);
        self
    }

    /// After how many transactions, not counting the initial rows, the `ALTER TABLE` comes.
    #[must_use]
    pub fn alter_after(mut self, transactions: u64) -> Self {
        self.alter_after = transactions;
        self
    }

    /// The initial rows: run these before a capture starts to have something to snapshot.
    pub fn initial_transactions(&mut self) -> Vec<Transaction> {
        let mut all = vec![self.products()];
        while self.customers < self.initial {
            let count = (self.initial - self.customers).min(500);
            all.push(self.opening(count));
        }
        all
    }

    fn products(&mut self) -> Transaction {
        let rows: Vec<String> = (1..=PRODUCTS)
            .map(|id| {
                let (price, weight) = (self.price(), self.random.below(2_000) as f64 / 64.0);
                format!("({id},'Product {id}',{price},{},{weight})", 1_000 + self.random.below(9_000))
            })
            .collect();
        Transaction { sql: format!("INSERT INTO shop.products VALUES {}", rows.join(",")), changes: PRODUCTS }
    }

    fn opening(&mut self, count: u64) -> Transaction {
        let customers: Vec<String> = (0..count).map(|_| self.customer()).collect();
        let orders: Vec<String> = (0..count)
            .map(|_| {
                self.orders += 1;
                let (customer, total) = (1 + self.random.below(self.customers), self.price());
                format!("({},{customer},'new',{total},NOW(6))", self.orders)
            })
            .collect();
        let sql = format!(
            "BEGIN; INSERT INTO shop.customers (id, name, email, city) VALUES {}; INSERT INTO shop.orders VALUES {}; COMMIT",
            customers.join(","),
            orders.join(",")
        );
        Transaction { sql, changes: 2 * count }
    }

    fn customer(&mut self) -> String {
        self.customers += 1;
        let id = self.customers;
        let (first, last) = (self.random.pick(&FIRST), self.random.pick(&LAST));
        let email = if self.random.below(5) == 0 { "NULL".to_owned() } else { format!("'c{id}@example.org'") };
        format!("({id},'{first} {last}',{email},'{}')", self.random.pick(&CITIES))
    }

    fn price(&mut self) -> String {
        format!("{}.{:02}", 1 + self.random.below(300), self.random.below(100))
    }

    /// The shop's heart: stock, order, items, payment and customer in one transaction.
    fn place_order(&mut self) -> Transaction {
        self.orders += 1;
        let (order, customer) = (self.orders, 1 + self.random.below(self.customers.max(1)));
        let lines = 1 + self.random.below(5);
        let mut sql = format!("BEGIN; INSERT INTO shop.orders VALUES ({order},{customer},'new',0,NOW(6));");
        for line in 1..=lines {
            let (product, quantity) = (1 + self.random.below(PRODUCTS), 1 + self.random.below(4));
            let _ = write!(
                sql,
                " UPDATE shop.products SET stock = stock - {quantity} WHERE id = {product};\
                 INSERT INTO shop.order_items SELECT {order}, {line}, id, {quantity}, price FROM shop.products WHERE id = {product};"
            );
        }
        let _ = write!(
            sql,
            " UPDATE shop.orders SET total = 0.01 + (SELECT SUM(quantity * price) FROM shop.order_items WHERE order_id = {order})\
             WHERE id = {order};"
        );
        let abandoned = self.random.below(20) == 0;
        sql.push_str(if abandoned { " ROLLBACK" } else { " COMMIT" });
        if abandoned {
            self.orders -= 1;
        }
        Transaction { sql, changes: if abandoned { 0 } else { 2 + 2 * lines } }
    }

    fn pay_order(&mut self) -> Transaction {
        self.paid += 1;
        let (order, method) = (self.paid, self.random.pick(&["card", "transfer", "cash"]));
        let note = if self.random.below(3) == 0 { "'thank you'" } else { "NULL" };
        let sql = format!(
            "BEGIN; INSERT INTO shop.payments SELECT id, id, total, '{method}', CURRENT_DATE, {note} FROM shop.orders \
             WHERE id = {order}; UPDATE shop.orders SET status = 'paid' WHERE id = {order}; COMMIT"
        );
        Transaction { sql, changes: 2 }
    }

    fn delete_order(&mut self) -> Transaction {
        self.deleted += 1;
        let order = self.deleted;
        let sql = format!(
            "BEGIN; DELETE FROM shop.order_items WHERE order_id = {order}; DELETE FROM shop.payments WHERE order_id = {order}; \
             DELETE FROM shop.orders WHERE id = {order}; COMMIT"
        );
        Transaction { sql, changes: 2 }
    }

    fn change_customer(&mut self) -> Transaction {
        let (id, city) = (1 + self.random.below(self.customers.max(1)), self.random.pick(&CITIES));
        let sql = format!("UPDATE shop.customers SET city = '{city}' WHERE id = {id}");
        Transaction { sql, changes: 1 }
    }

    fn new_customer(&mut self) -> Transaction {
        let row = self.customer();
        let sql = format!("INSERT INTO shop.customers (id, name, email, city) VALUES {row}");
        Transaction { sql, changes: 1 }
    }
}

impl Iterator for Load {
    type Item = Transaction;

    /// Never `None`.
    fn next(&mut self) -> Option<Transaction> {
        self.transactions += 1;
        if self.transactions == self.alter_after {
            return Some(Transaction { sql: ALTER.to_owned(), changes: 0 });
        }
        Some(match self.random.below(10) {
            0 => self.new_customer(),
            1 | 2 => self.change_customer(),
            3 | 4 if self.paid < self.orders => self.pay_order(),
            5 if self.deleted < self.paid => self.delete_order(),
            _ => self.place_order(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_series_with_one_alter() {
        let series = |seed| Load::new(seed).alter_after(300).take(1_000).collect::<Vec<_>>();
        assert_eq!(series(7), series(7));
        assert_ne!(series(7), series(8));
        assert_eq!(series(7).iter().filter(|t| t.sql == ALTER).count(), 1);
    }
}
