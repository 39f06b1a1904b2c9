-- The SQLite store. One table of facts, two of what is looked up beside them.

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

-- name: scan
SELECT pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash
FROM records WHERE pos > ? ORDER BY pos LIMIT ?;

-- name: definition
SELECT body FROM definitions WHERE digest = ?;

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
