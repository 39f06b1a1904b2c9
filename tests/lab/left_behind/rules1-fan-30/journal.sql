PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "records" VALUES(1,'fan',1,3,1795639410158548,'run',1,1,'engine','','[{"type":"run.submitted","run":"fan","name":"kills","definition":"b7e3a7ba9c43a231f484f70b308cc9d585174fcbaaf7bc10210fb6d73cbea8d3","at":1795639410158319},{"type":"run.started","at":1795639410158548},{"type":"task.started","task":"split","attempt":1,"agent":"a","key":"LIbG45pkckoeiLeM457fyP1x7_bSvyDzWlNjIHwAKmM","at":1795639410158548}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'FE68FF101A877C36C76009486299C37FE9E2FFEE04A2F5490E3E4A8F20C0E96D');
INSERT INTO "records" VALUES(4,'hive',1,1,1795639410158333,'hive',1,1,'engine','','[{"type":"hive.run_opened","run":"fan","at":1795639410158333}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'10832F23626D611D44CBE8C1C00258D60104B626238341E51ED99440FED55378');
INSERT INTO "records" VALUES(5,'fan',4,4,1795639410161004,'run',1,1,'engine','','[{"type":"task.succeeded","task":"split","attempt":1,"result":"split of attempt 1","at":1795639410160855},{"type":"task.started","task":"part6","attempt":1,"agent":"a","key":"spYsA2IYw4eqztbuHTaNQqHAVYFK_ctXh_cnhQqz7S0","at":1795639410161004},{"type":"task.started","task":"part5","attempt":1,"agent":"a","key":"LPaODi4jwR7nb69UlDI0niYk9jDgCo_sQLBwJMXupgQ","at":1795639410161004},{"type":"task.started","task":"part4","attempt":1,"agent":"a","key":"ryxuqr1L-4cLlH6_3MkXRDb4kGkftQO-tN_HrNt0uyA","at":1795639410161004}]',X'FE68FF101A877C36C76009486299C37FE9E2FFEE04A2F5490E3E4A8F20C0E96D',X'DE76C8596A0BAA19449902B5C85945C400C4A5CB603B3D66C02B9F64311D80A5');
INSERT INTO "records" VALUES(9,'fan',8,6,1795639410173114,'run',1,1,'engine','','[{"type":"task.succeeded","task":"part6","attempt":1,"result":"part6 of attempt 1","at":1795639410172397},{"type":"task.succeeded","task":"part5","attempt":1,"result":"part5 of attempt 1","at":1795639410172772},{"type":"task.succeeded","task":"part4","attempt":1,"result":"part4 of attempt 1","at":1795639410173090},{"type":"task.started","task":"part3","attempt":1,"agent":"a","key":"SnMR13Jr1RLQl_WB81LcHi2EjsrPtIvX5Fxhd2wB2pU","at":1795639410173114},{"type":"task.started","task":"part2","attempt":1,"agent":"a","key":"vQ2Fa2lfYj3N1O9fudQDpjrE_O3M-yQmxhT1Rzvh8XU","at":1795639410173114},{"type":"task.started","task":"part1","attempt":1,"agent":"a","key":"bodtckw3rR8-QXeihhwi13_kax6Qvl20P9gonTMXLqM","at":1795639410173114}]',X'DE76C8596A0BAA19449902B5C85945C400C4A5CB603B3D66C02B9F64311D80A5',X'B3CEA303D8A45C47D6C076950DDBD9B1080874FCB41BEE2AA7E0ECE67B42CB74');
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
INSERT INTO "runs" VALUES('fan','default','local','kills','running',1795639410158319,NULL,9,0,0);
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
COMMIT;
