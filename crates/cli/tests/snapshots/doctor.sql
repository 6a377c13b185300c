-- dujiang doctor, pipeline shop: to be run by an administrator of MariaDB VERSION at 127.0.0.1:PORT

-- finding E0212: the binlog of 127.0.0.1:PORT is in MIXED format, which does not carry the rows of every change
SET GLOBAL binlog_format=ROW;
-- then: add binlog_format=ROW to section [mariadb] of MariaDB's configuration file, and let open sessions reconnect

-- finding E0221: user 'app'@'127.0.0.1' may not read the binlog of 127.0.0.1:PORT
GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'app'@'127.0.0.1';

-- finding E0301: table shop.log has no key
-- think first: it adds a column and may copy the whole table
-- ALTER TABLE `shop`.`log` ADD COLUMN `row_id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE, ADD PRIMARY KEY (`row_id`);
-- mend: add one, e.g. ALTER TABLE ... ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, or leave the tables out with `tables.exclude`

-- advice E0208: the binlog is kept for 2 days only
SET GLOBAL binlog_expire_logs_seconds=604800;
-- then: add binlog_expire_logs_seconds=604800 to section [mariadb] of MariaDB's configuration file

-- advice E0251: the binlog does not name the columns of its rows
SET GLOBAL binlog_row_metadata=FULL;
-- then: add binlog_row_metadata=FULL to section [mariadb] of MariaDB's configuration file

-- advice E0221: user 'app'@'127.0.0.1' may not lock tables on 127.0.0.1:PORT
GRANT RELOAD, LOCK TABLES ON *.* TO 'app'@'127.0.0.1';
-- mend: grant them, so that the snapshot can begin while the server is never quiet for a moment

