-- The SQLite store. `records` is the journal. `definitions`, `blobs` and `cache` hold content that is
-- looked up by key, `uses` says which stream needs which definition or blob. `runs`, `accounts` and
-- `marks` are projections, written in the transaction of the records that they follow from; so are
-- the `requests` of callers with their answers, which are kept for a day.

-- Settings that must be made before the first table is created.
-- name: new_file
PRAGMA auto_vacuum = INCREMENTAL;

-- Settings of every connection: durable commits, and a wait of 5 s for a lock.
-- name: pragmas
PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;

-- All tables and indexes of the current schema version.
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
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    verb TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    rejection TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    UNIQUE (tenant, key)
) STRICT;
CREATE INDEX IF NOT EXISTS requests_by_end ON requests (expires);

-- Brings an older file to schema version 4: notes which stream uses which definition.
-- name: upgrade
INSERT OR IGNORE INTO uses (stream, digest)
SELECT stream, json_extract(payload, '$[0].definition') FROM records
WHERE seq = 1 AND type = 'run' AND json_extract(payload, '$[0].definition') IS NOT NULL;
PRAGMA user_version = 4;

-- Empty tables for a reader of a file of schema version 1, which has no blobs.
-- name: stand_ins
CREATE TEMP TABLE IF NOT EXISTS blobs (digest TEXT, body BLOB);
CREATE TEMP TABLE IF NOT EXISTS uses (stream TEXT, digest TEXT);
CREATE TEMP TABLE IF NOT EXISTS cache (
    key TEXT, origin TEXT, result TEXT, at INTEGER, expires INTEGER
);

-- Empty tables for a reader of a file of schema version 1 or 2, which has no accounts.
-- name: stand_in_for_accounts
CREATE TEMP TABLE IF NOT EXISTS accounts (
    scope TEXT, ceiling INTEGER, captured INTEGER, held INTEGER, frozen INTEGER
);
CREATE TEMP TABLE IF NOT EXISTS marks (name TEXT, value TEXT);

-- An empty table for a reader of a file of an earlier schema version, which has no requests.
-- name: stand_in_for_requests
CREATE TEMP TABLE IF NOT EXISTS requests (
    tenant TEXT, key TEXT, verb TEXT, fingerprint TEXT, answer TEXT, rejection TEXT, at INTEGER,
    expires INTEGER
);

-- Begins a transaction that lets the log file grow by 1 MiB; it is rolled back afterwards.
-- name: make_room
PRAGMA cache_size = 10;
BEGIN IMMEDIATE;
CREATE TABLE room (filling BLOB NOT NULL) STRICT;
INSERT INTO room (filling) VALUES (zeroblob(1048576));

-- Restores the page cache (2,000 KiB) that `make_room` made small.
-- name: room_made
PRAGMA cache_size = -2000;

-- Number, event count and hash of the last record of a stream.
-- name: head
SELECT seq, count, hash FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1;

-- The position of the last event in the journal.
-- name: last_pos
SELECT pos + count - 1 FROM records ORDER BY pos DESC LIMIT 1;

-- Adds one record.
-- name: append
INSERT INTO records (pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- Stores a definition, unless it is stored already.
-- name: define
INSERT INTO definitions (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- Stores a blob, unless it is stored already.
-- name: keep
INSERT INTO blobs (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- Notes that a stream uses a definition or a blob.
-- name: use
INSERT INTO uses (stream, digest) VALUES (?, ?) ON CONFLICT (stream, digest) DO NOTHING;

-- Stores a result for equal calls, in place of an older one with the same key.
-- name: cache
INSERT INTO cache (key, origin, result, at, expires) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    origin = excluded.origin,
    result = excluded.result,
    at = excluded.at,
    expires = excluded.expires;

-- Deletes the cached results that expired before a time.
-- name: forget_cached
DELETE FROM cache WHERE expires < ?;

-- Notes a request with its answer, in place of an older one with the same tenant and key.
-- name: put_request
INSERT OR REPLACE INTO requests (tenant, key, verb, fingerprint, answer, rejection, at, expires)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- Deletes the requests that expired before a time.
-- name: forget_requests
DELETE FROM requests WHERE expires < ?;

-- Deletes the oldest requests above a number: ids count up.
-- name: limit_requests
DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?;

-- The request of a tenant with a key, expired or not.
-- name: request
SELECT tenant, key, verb, fingerprint, answer, rejection, at, expires
FROM requests WHERE tenant = ? AND key = ?;

-- Adds to the captured and held amounts of an account; the first entry creates the account.
-- name: enter
INSERT INTO accounts (scope, ceiling, captured, held, frozen) VALUES (?, NULL, ?, ?, 0)
ON CONFLICT (scope) DO UPDATE SET
    captured = captured + excluded.captured,
    held = held + excluded.held;

-- Sets the limit of an account and whether it is frozen; its amounts stay.
-- name: set_standing
INSERT INTO accounts (scope, ceiling, captured, held, frozen) VALUES (?, ?, 0, 0, ?)
ON CONFLICT (scope) DO UPDATE SET ceiling = excluded.ceiling, frozen = excluded.frozen;

-- Stores a text under a name, in place of an older one.
-- name: mark
INSERT INTO marks (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- All stored texts by name.
-- name: marks
SELECT name, value FROM marks;

-- All accounts with their limits and amounts (nano-dollars).
-- name: standings
SELECT scope, ceiling, captured, held, frozen FROM accounts ORDER BY scope;

-- The result stored under a key, expired or not.
-- name: cached
SELECT origin, result, at, expires FROM cache WHERE key = ?;

-- Deletes the blobs that only this stream uses.
-- name: drop_blobs
DELETE FROM blobs WHERE digest IN (SELECT digest FROM uses WHERE stream = :stream)
AND NOT EXISTS (SELECT 1 FROM uses WHERE digest = blobs.digest AND stream <> :stream);

-- Deletes the definitions that only this stream uses.
-- name: drop_definitions
DELETE FROM definitions WHERE digest IN (SELECT digest FROM uses WHERE stream = :stream)
AND NOT EXISTS (SELECT 1 FROM uses WHERE digest = definitions.digest AND stream <> :stream);

-- Deletes the notes of what a stream uses; must follow the two queries above.
-- name: drop_uses
DELETE FROM uses WHERE stream = :stream;

-- Deletes the records of a stream.
-- name: drop_records
DELETE FROM records WHERE stream = :stream;

-- Deletes the accounts of a run: scope 'run ID' and all scopes that begin with 'run ID '.
-- name: drop_accounts
DELETE FROM accounts WHERE scope = 'run ' || :stream
OR (scope > 'run ' || :stream || ' ' AND scope < 'run ' || :stream || '!');

-- Deletes a run from the run list.
-- name: drop_run
DELETE FROM runs WHERE run = :stream;

-- Adds a run to the run list, or updates its status, end and task counts.
-- name: put_run
INSERT INTO runs (
    run, tenant, owner, name, status, created, finished, total_tasks, completed_tasks, failed_tasks
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET
    status = excluded.status,
    finished = excluded.finished,
    completed_tasks = excluded.completed_tasks,
    failed_tasks = excluded.failed_tasks;

-- One page of the records of a stream after an event number, oldest first.
-- name: read
SELECT pos, CAST(stream AS BLOB), seq, count, at, CAST(type AS BLOB), v, rules,
    CAST(actor AS BLOB), CAST(cause AS BLOB), CAST(payload AS BLOB), prev, hash
FROM records WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?;

-- The last record of a stream.
-- name: last
SELECT pos, CAST(stream AS BLOB), seq, count, at, CAST(type AS BLOB), v, rules,
    CAST(actor AS BLOB), CAST(cause AS BLOB), CAST(payload AS BLOB), prev, hash
FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1;

-- The last record of a stream that has a cause with a given beginning (length, text).
-- name: marked
SELECT pos, CAST(stream AS BLOB), seq, count, at, CAST(type AS BLOB), v, rules,
    CAST(actor AS BLOB), CAST(cause AS BLOB), CAST(payload AS BLOB), prev, hash
FROM records WHERE stream = ? AND substr(cause, 1, ?) = ? ORDER BY seq DESC LIMIT 1;

-- Records of all streams after a position, in the order they were committed.
-- name: scan
SELECT pos, CAST(stream AS BLOB), seq, count, at, CAST(type AS BLOB), v, rules,
    CAST(actor AS BLOB), CAST(cause AS BLOB), CAST(payload AS BLOB), prev, hash
FROM records WHERE pos > ? ORDER BY pos LIMIT ?;

-- The definition with a digest.
-- name: definition
SELECT body FROM definitions WHERE digest = ?;

-- The blob with a digest.
-- name: blob
SELECT body FROM blobs WHERE digest = ?;

-- Bytes of payloads, blobs and definitions, of the whole file, and of its free pages.
-- name: sizes
SELECT
    (SELECT coalesce(sum(octet_length(payload)), 0) FROM records),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM blobs),
    (SELECT coalesce(sum(octet_length(body)), 0) FROM definitions),
    (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size),
    (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size);

-- Bytes of payloads, blobs and definitions that would be deleted with these streams.
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

-- Bytes of free pages in the file.
-- name: free
SELECT (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size);

-- The largest streams: bytes of their payloads, and of the blobs that they use.
-- name: largest
SELECT records.stream, sum(octet_length(payload)) AS here, coalesce((
    SELECT sum(octet_length(body)) FROM uses JOIN blobs USING (digest)
    WHERE uses.stream = records.stream
), 0) AS apart
FROM records GROUP BY records.stream ORDER BY here + apart DESC, records.stream LIMIT ?;

-- Gives up to 2,000 free pages back to the file system.
-- name: shrink
PRAGMA incremental_vacuum(2000);

-- The run list of a tenant, newest first.
-- name: runs
SELECT run, CAST(name AS BLOB), CAST(status AS BLOB), created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE tenant = ? ORDER BY created DESC, run DESC LIMIT ?;

-- The runs of a tenant that have not ended, newest first.
-- name: open_runs
SELECT run, CAST(name AS BLOB), CAST(status AS BLOB), created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE tenant = ? AND finished IS NULL ORDER BY created DESC, run DESC LIMIT ?;

-- One run of a tenant.
-- name: run
SELECT run, CAST(name AS BLOB), CAST(status AS BLOB), created, finished, total_tasks, completed_tasks, failed_tasks, tenant,
    owner
FROM runs WHERE run = ? AND tenant = ?;
