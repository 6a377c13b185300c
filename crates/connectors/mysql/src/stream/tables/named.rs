//! Tables by their names: those that are captured, would be, or may take the place of one that is.

use super::*;

impl Tables {
    /// A table's number.
    pub fn find(&self, database: &str, table: &str) -> Option<usize> {
        self.by_name.get(&*self.names.folded(database))?.get(&*self.names.folded(table)).copied()
    }

    /// Whose rows they are, in a transaction that begins there.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn whose(&mut self, database: &str, table: &str, begin: &Place) -> Result<Whose> {
        if let Some(at) = self.find(database, table) {
            let joined = self.tables[at].has_joined(begin);
            return Ok(if joined { Whose::Captured(at) } else { Whose::Others });
        }
        if !self.scope.follows_new {
            return Ok(Whose::Others);
        }
        if self.others.get(database).is_some_and(|tables| tables.contains(table)) {
            return Ok(Whose::Others);
        }
        let id = TableId::new(database, table);
        if self.scope.wants(&id)? && !self.is_online_copy(&id) {
            return Ok(Whose::Wanted);
        }
        self.pass_over(&id);
        Ok(Whose::Others)
    }

    /// Rows of this table are of no interest, although its name may be one that is captured.
    pub fn pass_over(&mut self, id: &TableId) {
        if self.passed_over >= PASSED_OVER {
            self.others.clear();
            self.passed_over = 0;
        }
        self.passed_over += 1;
        self.others.entry((*id.database).into()).or_default().insert((*id.table).into());
    }

    /// The captured table of that name; an empty table name asks for any of the database.
    pub fn captured(&self, database: &str, table: &str) -> Option<TableId> {
        let tables = self.by_name.get(&*self.names.folded(database))?;
        let at = if table.is_empty() { tables.values().next() } else { tables.get(&*self.names.folded(table)) };
        Some(self.tables[*at?].id.clone())
    }

    /// The shape of a captured table.
    pub fn captured_shape(&self, id: &TableId) -> Option<&Shape> {
        self.find(&id.database, &id.table).map(|at| &self.tables[at].shape)
    }

    /// Whether a table's name is that of a copy that a tool for online schema changes makes of a captured one.
    pub fn is_online_copy(&self, id: &TableId) -> bool {
        self.is_ghost(id)
    }
}

impl Known for Tables {
    fn spelled(&self, written: &TableId) -> TableId {
        match self.captured(&written.database, &written.table) {
            Some(captured) if !written.table.is_empty() => captured,
            _ => self.names.spelled(written),
        }
    }

    fn captured(&self, table: &TableId) -> Option<&Shape> {
        self.captured_shape(table)
    }

    fn riddle(&self, table: &TableId) -> Option<&str> {
        let at = self.find(&table.database, &table.table)?;
        self.tables[at].riddle.as_ref().map(|riddle| riddle.why.as_str())
    }

    fn shadow(&self, table: &TableId) -> Option<&Shape> {
        self.shadows.get(table)
    }

    fn of_database(&self, database: &str) -> Vec<TableId> {
        let same = |id: &&TableId| self.names.folded(&id.database) == self.names.folded(database);
        let captured = self.iter().map(|(_, table)| &table.id);
        captured.chain(self.shadows.keys()).filter(same).cloned().collect()
    }

    fn is_wanted(&self, table: &TableId) -> Result<bool> {
        Ok(self.scope.follows_new && self.scope.wants(table)? && !self.is_online_copy(table))
    }

    fn is_ghost_of(&self, ghost: &TableId, table: &TableId) -> bool {
        let names = &self.names;
        self.scope.online
            && names.folded(&ghost.database) == names.folded(&table.database)
            && copied(&ghost.table).any(|base| names.folded(base) == names.folded(&table.table))
    }

    fn is_ghost(&self, table: &TableId) -> bool {
        self.scope.online && copied(&table.table).any(|base| self.find(&table.database, base).is_some())
    }
}
