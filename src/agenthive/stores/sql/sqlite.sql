-- The SQLite store. One table of facts, three of what is looked up beside them, one that says which
-- stream needs which definition or blob, and one of the accounts that money is spent from.

-- name: new_file
PRAGMA auto_vacuum = INCREMENTAL;

-- name: pragmas
PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;

-- name: schema
CREATE TABLE IF NOT EXISTS records (
    pos INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    v INTEGER NOT NULL,
    rules INTEGER NOT NULL,
    actor TEXT NOT NULL,
    cause TEXT NOT NULL,
    payload TEXT NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (stream, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS definitions (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    created INTEGER NOT NULL,
    finished INTEGER,
    total_tasks INTEGER NOT NULL,
    completed_tasks INTEGER NOT NULL,
    failed_tasks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_age ON runs (tenant, created DESC);
CREATE INDEX IF NOT EXISTS runs_open ON runs (tenant) WHERE finished IS NULL;

CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS uses (
    stream TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_digest ON uses (digest);
CREATE TABLE IF NOT EXISTS cache (
    key TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS accounts (
    scope TEXT PRIMARY KEY,
    ceiling INTEGER,
    captured INTEGER NOT NULL,
    held INTEGER NOT NULL,
    frozen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- name: upgrade
INSERT OR IGNORE INTO uses (stream, digest)
SELECT stream, json_extract(payload, '$[0].definition') FROM records
WHERE seq = 1 AND type = 'run' AND json_extract(payload, '$[0].definition') IS NOT NULL;
PRAGMA user_version = 3;

-- name: stand_ins
CREATE TEMP TABLE IF NOT EXISTS blobs (digest TEXT, body BLOB);
CREATE TEMP TABLE IF NOT EXISTS uses (stream TEXT, digest TEXT);
CREATE TEMP TABLE IF NOT EXISTS cache (
    key TEXT, origin TEXT, result TEXT, at INTEGER, expires INTEGER
);

-- name: stand_in_for_accounts
CREATE TEMP TABLE IF NOT EXISTS accounts (
    scope TEXT, ceiling INTEGER, captured INTEGER, held INTEGER, frozen INTEGER
);
CREATE TEMP TABLE IF NOT EXISTS marks (name TEXT, value TEXT);

-- name: make_room
PRAGMA cache_size = 10;
BEGIN IMMEDIATE;
CREATE TABLE room (filling BLOB NOT NULL) STRICT;
INSERT INTO room (filling) VALUES (zeroblob(1048576));

-- name: room_made
PRAGMA cache_size = -2000;

-- name: head
SELECT seq, count, hash FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1;

-- name: last_pos
SELECT pos + count - 1 FROM records ORDER BY pos DESC LIMIT 1;

-- name: append
INSERT INTO records (pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: define
INSERT INTO definitions (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: keep
INSERT INTO blobs (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: use
INSERT INTO uses (stream, digest) VALUES (?, ?) ON CONFLICT (stream, digest) DO NOTHING;

-- name: cache
INSERT INTO cache (key, origin, result, at, expires) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    origin = excluded.origin,
    result = excluded.result,
    at = excluded.at,
    expires = excluded.expires;

-- name: forget_cached
DELETE FROM cache WHERE expires < ?;

-- name: enter
INSERT INTO accounts (scope, ceiling, captured, held, frozen) VALUES (?, NULL, ?, ?, 0)
ON CONFLICT (scope) DO UPDATE SET
    captured = captured + excluded.captured,
    held = held + excluded.held;

-- name: set_standing
INSERT INTO accounts (scope, ceiling, captured, held, frozen) VALUES (?, ?, 0, 0, ?)
ON CONFLICT (scope) DO UPDATE SET ceiling = excluded.ceiling, frozen = excluded.frozen;

-- name: mark
INSERT INTO marks (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: marks
SELECT name, value FROM marks;

-- name: standings
SELECT scope, ceiling, captured, held, frozen FROM accounts ORDER BY scope;

-- name: cached
SELECT origin, result, at, expires FROM cache WHERE key = ?;

-- name: drop_blobs
DELETE FROM blobs WHERE digest IN (SELECT digest FROM uses WHERE stream = :stream)
AND NOT EXISTS (SELECT 1 FROM uses WHERE digest = blobs.digest AND stream <> :stream);

-- name: drop_definitions
DELETE FROM definitions WHERE digest IN (SELECT digest FROM uses WHERE stream = :stream)
AND NOT EXISTS (SELECT 1 FROM uses WHERE digest = definitions.digest AND stream <> :stream);

-- name: drop_uses
DELETE FROM uses WHERE stream = :stream;

-- name: drop_records
DELETE FROM records WHERE stream = :stream;

-- name: drop_accounts
DELETE FROM accounts WHERE scope = 'run ' || :stream
OR (scope > 'run ' || :stream || ' ' AND scope < 'run ' || :stream || '!');

-- name: drop_run
DELETE FROM runs WHERE run = :stream;

-- name: put_run
INSERT INTO runs (
    run, tenant, owner, name, status, created, finished, total_tasks, completed_tasks, failed_tasks
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET
    status = excluded.status,
    finished = excluded.finished,
    completed_tasks = excluded.completed_tasks,
    failed_tasks = excluded.failed_tasks;

-- name: read
SELECT pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash
FROM records WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: last
SELECT pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash
FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1;

-- name: marked
SELECT pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash
FROM records WHERE stream = ? AND substr(cause, 1, ?) = ? ORDER BY seq DESC LIMIT 1;

-- name: scan
SELECT pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash
FROM records WHERE pos > ? ORDER BY pos LIMIT ?;

-- name: definition
SELECT body FROM definitions WHERE digest = ?;

-- name: blob
SELECT body FROM blobs WHERE digest = ?;

-- name: sizes
SELECT
    (SELECT coalesce(sum(octet_length(payload)), 0) FROM records),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM blobs),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM definitions),
    (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size),
    (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size);

-- name: sizes_of
WITH gone AS (SELECT value AS stream FROM json_each(?)),
used AS (SELECT DISTINCT digest FROM uses WHERE stream IN (SELECT stream FROM gone)),
lost AS (
    SELECT digest FROM used WHERE NOT EXISTS (
        SELECT 1 FROM uses
        WHERE uses.digest = used.digest AND stream NOT IN (SELECT stream FROM gone)
    )
)
SELECT
    (SELECT coalesce(sum(octet_length(payload)), 0) FROM records
    WHERE stream IN (SELECT stream FROM gone)),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM blobs
    WHERE digest IN (SELECT digest FROM lost)),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM definitions
    WHERE digest IN (SELECT digest FROM lost));

-- name: free
SELECT (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size);

-- name: largest
SELECT records.stream, sum(octet_length(payload)) AS here, coalesce((
    SELECT sum(octet_length(body)) FROM uses JOIN blobs USING (digest)
    WHERE uses.stream = records.stream
), 0) AS apart
FROM records GROUP BY records.stream ORDER BY here + apart DESC, records.stream LIMIT ?;

-- name: shrink
PRAGMA incremental_vacuum(2000);

-- name: runs
SELECT run, name, status, created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE tenant = ? ORDER BY created DESC, run DESC LIMIT ?;

-- name: open_runs
SELECT run, name, status, created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE tenant = ? AND finished IS NULL ORDER BY created DESC, run DESC LIMIT ?;

-- name: run
SELECT run, name, status, created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE run = ? AND tenant = ?;
