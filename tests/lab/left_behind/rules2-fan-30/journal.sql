PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE blobs (
    digest TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE cache (
    key TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE definitions (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "definitions" VALUES('b7e3a7ba9c43a231f484f70b308cc9d585174fcbaaf7bc10210fb6d73cbea8d3','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":3,"name":"kills","tasks":[{"action":"work","agent":"a","name":"split","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part0","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part1","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part2","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part3","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part4","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part5","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["split"],"name":"part6","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["part0","part1","part2","part3","part4","part5","part6"],"name":"join","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
CREATE TABLE records (
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
INSERT INTO "records" VALUES(1,'fan',1,3,1795666563152380,'run',1,2,'engine','','[{"type":"run.submitted","run":"fan","name":"kills","definition":"b7e3a7ba9c43a231f484f70b308cc9d585174fcbaaf7bc10210fb6d73cbea8d3","at":1795666563152089},{"type":"run.started","at":1795666563152380},{"type":"task.started","task":"split","attempt":1,"agent":"a","key":"LIbG45pkckoeiLeM457fyP1x7_bSvyDzWlNjIHwAKmM","at":1795666563152380}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'3976E8EC4A766C9F8B593F654DCC926E2190A82421D827A6468650383BDA43DF');
INSERT INTO "records" VALUES(4,'hive',1,1,1795666563152112,'hive',1,2,'engine','','[{"type":"hive.run_opened","run":"fan","at":1795666563152112}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'959678B55D99D786F78519D6DCBB058D46EA2ABCD999204CAFC39B214788094A');
INSERT INTO "records" VALUES(5,'fan',4,4,1795666563155049,'run',1,2,'engine','','[{"type":"task.succeeded","task":"split","attempt":1,"result":"split of attempt 1","at":1795666563154848},{"type":"task.started","task":"part6","attempt":1,"agent":"a","key":"spYsA2IYw4eqztbuHTaNQqHAVYFK_ctXh_cnhQqz7S0","at":1795666563155049},{"type":"task.started","task":"part5","attempt":1,"agent":"a","key":"LPaODi4jwR7nb69UlDI0niYk9jDgCo_sQLBwJMXupgQ","at":1795666563155049},{"type":"task.started","task":"part4","attempt":1,"agent":"a","key":"ryxuqr1L-4cLlH6_3MkXRDb4kGkftQO-tN_HrNt0uyA","at":1795666563155049}]',X'3976E8EC4A766C9F8B593F654DCC926E2190A82421D827A6468650383BDA43DF',X'DB203F8D169561BCBCF8D188BBC4B421764FEB48C5AA30DE1CE417252ECE3F05');
INSERT INTO "records" VALUES(9,'fan',8,6,1795666563167657,'run',1,2,'engine','','[{"type":"task.succeeded","task":"part6","attempt":1,"result":"part6 of attempt 1","at":1795666563166808},{"type":"task.succeeded","task":"part5","attempt":1,"result":"part5 of attempt 1","at":1795666563167266},{"type":"task.succeeded","task":"part4","attempt":1,"result":"part4 of attempt 1","at":1795666563167630},{"type":"task.started","task":"part3","attempt":1,"agent":"a","key":"SnMR13Jr1RLQl_WB81LcHi2EjsrPtIvX5Fxhd2wB2pU","at":1795666563167657},{"type":"task.started","task":"part2","attempt":1,"agent":"a","key":"vQ2Fa2lfYj3N1O9fudQDpjrE_O3M-yQmxhT1Rzvh8XU","at":1795666563167657},{"type":"task.started","task":"part1","attempt":1,"agent":"a","key":"bodtckw3rR8-QXeihhwi13_kax6Qvl20P9gonTMXLqM","at":1795666563167657}]',X'DB203F8D169561BCBCF8D188BBC4B421764FEB48C5AA30DE1CE417252ECE3F05',X'A412A40D0F40049E0D97D200E1F38A8E1D4BE532EC7F79538E4800EA80D51D69');
CREATE TABLE runs (
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
INSERT INTO "runs" VALUES('fan','default','local','kills','running',1795666563152089,NULL,9,0,0);
CREATE TABLE uses (
    stream TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO "uses" VALUES('fan','b7e3a7ba9c43a231f484f70b308cc9d585174fcbaaf7bc10210fb6d73cbea8d3');
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
CREATE INDEX uses_by_digest ON uses (digest);
CREATE INDEX cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
COMMIT;
