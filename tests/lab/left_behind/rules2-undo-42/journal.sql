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
INSERT INTO "definitions" VALUES('5ae3fb9595eb32519dc7a48bcb399db6cb43c3c05065eb5842733035e805fc41','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"work","agent":"a","compensate":{"action":"work","agent":"a","retry":{"initial_delay":0.02,"jitter":false,"strategy":"constant_delay"}},"name":"book","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","compensate":{"action":"work","agent":"a","retry":{"initial_delay":0.02,"jitter":false,"strategy":"constant_delay"}},"depends_on":["book"],"effect":"keyed","name":"pay","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["book"],"name":"side","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","compensate":{"action":"work","agent":"a","retry":{"initial_delay":0.02,"jitter":false,"strategy":"constant_delay"}},"depends_on":["pay","side"],"name":"send","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"refuse","agent":"a","depends_on":["send"],"name":"bad","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["bad"],"name":"never","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
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
INSERT INTO "records" VALUES(1,'undo',1,3,1795666562998602,'run',1,2,'engine','','[{"type":"run.submitted","run":"undo","name":"kills","definition":"5ae3fb9595eb32519dc7a48bcb399db6cb43c3c05065eb5842733035e805fc41","at":1795666562998342},{"type":"run.started","at":1795666562998602},{"type":"task.started","task":"book","attempt":1,"agent":"a","key":"q5O8w3UiCh59tZI3TVfFj7qZCVbe7pC1q_sIgh7Lqc4","at":1795666562998602}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'855DD73B6DA006A43C9CBC60CC4FA4ADF701B030CB30D5DDA20BE707C8E3F67C');
INSERT INTO "records" VALUES(4,'hive',1,1,1795666562998362,'hive',1,2,'engine','','[{"type":"hive.run_opened","run":"undo","at":1795666562998362}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'4AFD6B13F43205855FB24C44FDCB3702C483B7D95649BBA7D14250D9339247C4');
INSERT INTO "records" VALUES(5,'undo',4,3,1795666563001185,'run',1,2,'engine','','[{"type":"task.succeeded","task":"book","attempt":1,"result":"book of attempt 1","at":1795666563001036},{"type":"task.started","task":"side","attempt":1,"agent":"a","key":"tmHZRVnxpqHLSryJQSV_kt0GvjtZWa3Ij-k59jVz_eQ","at":1795666563001185},{"type":"task.started","task":"pay","attempt":1,"agent":"a","key":"-gUh4NZM6Pm-d1tof2AdGzGozf0gIER2Q75Cy19efKM","at":1795666563001185}]',X'855DD73B6DA006A43C9CBC60CC4FA4ADF701B030CB30D5DDA20BE707C8E3F67C',X'06FC516A9EE92B65FFFA064933CCF334C479D2E589C7CFD44163ED98917CE151');
INSERT INTO "records" VALUES(8,'undo',7,1,1795666563002303,'run',1,2,'engine','','[{"type":"task.succeeded","task":"pay","attempt":1,"result":"pay of attempt 1","at":1795666563002303}]',X'06FC516A9EE92B65FFFA064933CCF334C479D2E589C7CFD44163ED98917CE151',X'A01BE8B6D2F2E7353887BDD46D3AB8D0B93D27613A90F683187DDBEACBBE7222');
INSERT INTO "records" VALUES(9,'undo',8,2,1795666563013248,'run',1,2,'engine','','[{"type":"task.succeeded","task":"side","attempt":1,"result":"side of attempt 1","at":1795666563013174},{"type":"task.started","task":"send","attempt":1,"agent":"a","key":"7MYWRWw6kLiCfKxkCzxiFspG5qXPbzWEE_zmI3easZE","at":1795666563013248}]',X'A01BE8B6D2F2E7353887BDD46D3AB8D0B93D27613A90F683187DDBEACBBE7222',X'6901BFCCC00DD682350F20EFE4DC42B9C68737C469CD5ACCE9BBA52CC21C410E');
INSERT INTO "records" VALUES(11,'undo',10,2,1795666563014257,'run',1,2,'engine','','[{"type":"task.succeeded","task":"send","attempt":1,"result":"send of attempt 1","at":1795666563014218},{"type":"task.started","task":"bad","attempt":1,"agent":"a","key":"1sF9862LUFro7kgY-3bOs5cCEYNpy-ksetC-M45B-Do","at":1795666563014257}]',X'6901BFCCC00DD682350F20EFE4DC42B9C68737C469CD5ACCE9BBA52CC21C410E',X'CAF356C6C4F85DFB49B698B0F068A00925B4C8A0B49348FE060C19BFE18842EE');
INSERT INTO "records" VALUES(13,'undo',12,2,1795666563015087,'run',1,2,'engine','','[{"type":"task.failed","task":"bad","attempt":1,"fault":{"kind":"refused","message":"no","retriable":false},"draw":0.08378911432660241,"at":1795666563014928},{"type":"task.started","task":"send#undo","attempt":1,"agent":"a","key":"6sOMSUyT1hnPv1-qtPTeT6tXRI4Nj-4xp-WO9e8t4gY","at":1795666563015087}]',X'CAF356C6C4F85DFB49B698B0F068A00925B4C8A0B49348FE060C19BFE18842EE',X'697F9FFA43B2EF1993CB06B24EFE41ACDEA24CA53CC439F474ADADB096515291');
INSERT INTO "records" VALUES(15,'undo',14,2,1795666563015922,'run',1,2,'engine','','[{"type":"task.succeeded","task":"send#undo","attempt":1,"result":"send#undo of attempt 1","at":1795666563015862},{"type":"task.started","task":"pay#undo","attempt":1,"agent":"a","key":"u1ck_WZb62u_F6Tc-THoC9i6hp3PW-Kdc4XM8Pc9S1g","at":1795666563015922}]',X'697F9FFA43B2EF1993CB06B24EFE41ACDEA24CA53CC439F474ADADB096515291',X'048CEEC00176DF4438F090B41D634B45754E2E6106D98245EFBA521FF47C1C4E');
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
INSERT INTO "runs" VALUES('undo','default','local','kills','compensating',1795666562998342,NULL,6,4,1);
CREATE TABLE uses (
    stream TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO "uses" VALUES('undo','5ae3fb9595eb32519dc7a48bcb399db6cb43c3c05065eb5842733035e805fc41');
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
CREATE INDEX uses_by_digest ON uses (digest);
CREATE INDEX cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
COMMIT;
