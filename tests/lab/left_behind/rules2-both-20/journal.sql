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
INSERT INTO "records" VALUES(1,'both',1,3,1795666563076411,'run',1,2,'engine','','[{"type":"run.submitted","run":"both","name":"kills","definition":"c4b81f6b0fd65affc6846d5b2c484640100c76cb091ffa3760de17ad101cff7d","at":1795666563076111},{"type":"run.started","at":1795666563076411},{"type":"task.started","task":"top","attempt":1,"agent":"a","key":"1RqZVCkf8gGu8dg-_appXE26Gz3J__qgmA9jqkuezgI","at":1795666563076411}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'967EA59FE2BCE606652B39B2BDCF833939C3FCF1A4E8BD5C1F9DAB94DD1DD7D4');
INSERT INTO "records" VALUES(4,'hive',1,1,1795666563076136,'hive',1,2,'engine','','[{"type":"hive.run_opened","run":"both","at":1795666563076136}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'5BB61637FAAFD649B5CC1ECAC64C8E21D159407AF3F3B2E96B4931B1F449D648');
INSERT INTO "records" VALUES(5,'both',4,3,1795666563079294,'run',1,2,'engine','','[{"type":"task.succeeded","task":"top","attempt":1,"result":"top of attempt 1","at":1795666563079122},{"type":"task.started","task":"right","attempt":1,"agent":"a","key":"Tx18V1OYBDpW57Jhvj6M_1yx46XzZLja4xNt4Hfc_6A","at":1795666563079294},{"type":"task.started","task":"left","attempt":1,"agent":"a","key":"BEgbEmeD7yOtHffDGeAC5TD1IOLGIYbsNQCMuXi_CNg","at":1795666563079294}]',X'967EA59FE2BCE606652B39B2BDCF833939C3FCF1A4E8BD5C1F9DAB94DD1DD7D4',X'CAEAFB5E4180069A5158312E350B0ACF2A83E6D2BDB17935D3F8D8715F8F07A3');
INSERT INTO "records" VALUES(8,'both',7,1,1795666563080428,'run',1,2,'engine','','[{"type":"task.failed","task":"left","attempt":1,"fault":{"kind":"connection","message":"no"},"draw":0.9139804443154206,"at":1795666563080428}]',X'CAEAFB5E4180069A5158312E350B0ACF2A83E6D2BDB17935D3F8D8715F8F07A3',X'83AA5649B2094D3275EE8C4C8B97A93050E9D3D73FB4C2FE10F255B2E3492E2C');
INSERT INTO "records" VALUES(9,'both',8,1,1795666563091376,'run',1,2,'engine','','[{"type":"task.succeeded","task":"right","attempt":1,"result":"right of attempt 1","at":1795666563091376}]',X'83AA5649B2094D3275EE8C4C8B97A93050E9D3D73FB4C2FE10F255B2E3492E2C',X'67B674C8C5344AF19F55E4425B76C5975742CFF00394EB6F7F8EE055A07F8ED8');
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
INSERT INTO "runs" VALUES('both','default','local','kills','waiting',1795666563076111,NULL,5,2,0);
CREATE TABLE uses (
    stream TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO "uses" VALUES('both','c4b81f6b0fd65affc6846d5b2c484640100c76cb091ffa3760de17ad101cff7d');
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
CREATE INDEX uses_by_digest ON uses (digest);
CREATE INDEX cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
COMMIT;
