//! MariaDB: `domain-server-sequence`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One transaction of a MariaDB server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MariaGtid {
    /// Replication domain; transactions are ordered within one.
    pub domain: u32,
    /// `server_id` of the server that wrote it first.
    pub server: u32,
    /// Rises within the domain.
    pub sequence: u64,
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl FromStr for MariaGtid {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a MariaDB GTID (domain-server-sequence)");
        let mut parts = text.trim().split('-');
        let mut part = || parts.next().ok_or_else(wrong);
        let domain = part()?.parse().map_err(|_| wrong())?;
        let server = part()?.parse().map_err(|_| wrong())?;
        let sequence = part()?.parse().map_err(|_| wrong())?;
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { domain, server, sequence })
    }
}

/// The last transaction of every domain, as in `gtid_binlog_pos`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaPosition(BTreeMap<u32, MariaGtid>);

impl MariaPosition {
    /// Takes a transaction in; the sequence within a domain may have gaps and, after a failover, another server.
    pub fn advance(&mut self, gtid: MariaGtid) {
        self.0.insert(gtid.domain, gtid);
    }

    /// The last transaction of a domain.
    pub fn domain(&self, domain: u32) -> Option<MariaGtid> {
        self.0.get(&domain).copied()
    }

    /// The last transaction of every domain.
    pub fn iter(&self) -> impl Iterator<Item = MariaGtid> + '_ {
        self.0.values().copied()
    }

    /// Whether there is no domain.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The domains in which this position has got less far than `other`: what a server at this position lacks.
    pub fn behind(&self, other: &MariaPosition) -> Vec<MariaGtid> {
        let reached = |g: &MariaGtid| self.0.get(&g.domain).is_some_and(|own| own.sequence >= g.sequence);
        other.0.values().filter(|g| !reached(g)).copied().collect()
    }

    /// Whether every domain of `other` is here, at the same sequence or a later one.
    pub fn covers(&self, other: &MariaPosition) -> bool {
        self.behind(other).is_empty()
    }
}

impl fmt::Display for MariaPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, gtid) in self.0.values().enumerate() {
            write!(f, "{}{gtid}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for MariaPosition {
    type Err = String;

    /// Also reads a `gtid_binlog_state`, which names several servers per domain: the highest sequence counts.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut position = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let gtid: MariaGtid = part.parse()?;
            if position.domain(gtid.domain).is_none_or(|old| old.sequence < gtid.sequence) {
                position.advance(gtid);
            }
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_one_transaction_per_domain() {
        let mut position: MariaPosition = "0-1-99, 5-2-7".parse().unwrap();
        position.advance("0-3-100".parse().unwrap());
        assert_eq!(position.to_string(), "0-3-100,5-2-7");
        assert!(position.covers(&"0-1-100".parse().unwrap()));
        assert!(!position.covers(&"0-1-101".parse().unwrap()));
        assert_eq!(position.behind(&"7-1-1,5-2-7".parse().unwrap()), ["7-1-1".parse().unwrap()]);
        assert_eq!("0-1-5,0-2-9,0-3-7".parse::<MariaPosition>().unwrap().to_string(), "0-2-9");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["1-2", "1-2-3-4", "a-b-c", "-1-2-3", "4294967296-1-1", "24DA167C-0C0D-11E8-8442-00059A3C7B00:1"] {
            assert!(text.parse::<MariaGtid>().is_err(), "{text}");
        }
    }
}
