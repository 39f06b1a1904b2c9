PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE definitions (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "definitions" VALUES('c4b81f6b0fd65affc6846d5b2c484640100c76cb091ffa3760de17ad101cff7d','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"work","agent":"a","effect":"keyed","name":"top","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"flaky","agent":"a","depends_on":["top"],"name":"left","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["top"],"effect":"once","name":"right","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["left","right"],"effect":"once","name":"bottom","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["bottom"],"name":"then","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
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
INSERT INTO "records" VALUES(1,'both',1,3,1795639409922767,'run',1,1,'engine','','[{"type":"run.submitted","run":"both","name":"kills","definition":"c4b81f6b0fd65affc6846d5b2c484640100c76cb091ffa3760de17ad101cff7d","at":1795639409922521},{"type":"run.started","at":1795639409922767},{"type":"task.started","task":"top","attempt":1,"agent":"a","key":"1RqZVCkf8gGu8dg-_appXE26Gz3J__qgmA9jqkuezgI","at":1795639409922767}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'C81DC0EB3B8B49C2512A84A190B08E10FC73C5F016EAED3F15225D56BF51FB81');
INSERT INTO "records" VALUES(4,'hive',1,1,1795639409922535,'hive',1,1,'engine','','[{"type":"hive.run_opened","run":"both","at":1795639409922535}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'643ACB2D9AAC337BAF6E9624EF88D4DA0641E5752CBF75E6BBB99F9DB16B28CD');
INSERT INTO "records" VALUES(5,'both',4,3,1795639409950225,'run',1,1,'engine','','[{"type":"task.succeeded","task":"top","attempt":1,"result":"top of attempt 1","at":1795639409950083},{"type":"task.started","task":"right","attempt":1,"agent":"a","key":"Tx18V1OYBDpW57Jhvj6M_1yx46XzZLja4xNt4Hfc_6A","at":1795639409950225},{"type":"task.started","task":"left","attempt":1,"agent":"a","key":"BEgbEmeD7yOtHffDGeAC5TD1IOLGIYbsNQCMuXi_CNg","at":1795639409950225}]',X'C81DC0EB3B8B49C2512A84A190B08E10FC73C5F016EAED3F15225D56BF51FB81',X'710EBA934B768386635DB76E721732610B6C1456347919EF20CBBA5ECBF4EB13');
INSERT INTO "records" VALUES(8,'both',7,1,1795639409970018,'run',1,1,'engine','','[{"type":"task.failed","task":"left","attempt":1,"fault":{"kind":"connection","message":"no"},"draw":0.6728526815384035,"at":1795639409970018}]',X'710EBA934B768386635DB76E721732610B6C1456347919EF20CBBA5ECBF4EB13',X'A92D0D30E084D94A4E136DDE231448E502892A98D7A8BBD2275F693BEE0F522B');
INSERT INTO "records" VALUES(9,'both',8,1,1795639409974037,'run',1,1,'engine','','[{"type":"task.succeeded","task":"right","attempt":1,"result":"right of attempt 1","at":1795639409974037}]',X'A92D0D30E084D94A4E136DDE231448E502892A98D7A8BBD2275F693BEE0F522B',X'5DA336FD9A3A6BE5E69B4E12F9270DFA7E255BCEAC7429B337167EB424F2122C');
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
INSERT INTO "runs" VALUES('both','default','local','kills','waiting',1795639409922521,NULL,5,2,0);
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
COMMIT;
