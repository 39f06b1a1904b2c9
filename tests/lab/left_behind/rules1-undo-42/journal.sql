PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "records" VALUES(1,'undo',1,3,1795639409567841,'run',1,1,'engine','','[{"type":"run.submitted","run":"undo","name":"kills","definition":"5ae3fb9595eb32519dc7a48bcb399db6cb43c3c05065eb5842733035e805fc41","at":1795639409567565},{"type":"run.started","at":1795639409567841},{"type":"task.started","task":"book","attempt":1,"agent":"a","key":"q5O8w3UiCh59tZI3TVfFj7qZCVbe7pC1q_sIgh7Lqc4","at":1795639409567841}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'0719C1A680CABB85EFD23C6ADB15E533EBDDFBB29527B26DCB8B34E46BD75EF0');
INSERT INTO "records" VALUES(4,'hive',1,1,1795639409567583,'hive',1,1,'engine','','[{"type":"hive.run_opened","run":"undo","at":1795639409567583}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'44EED583C17FBE7DAF71E967E03B177FB69B15F2AAA2E062CD5AE4F9F17B1C43');
INSERT INTO "records" VALUES(5,'undo',4,3,1795639409598312,'run',1,1,'engine','','[{"type":"task.succeeded","task":"book","attempt":1,"result":"book of attempt 1","at":1795639409598098},{"type":"task.started","task":"side","attempt":1,"agent":"a","key":"tmHZRVnxpqHLSryJQSV_kt0GvjtZWa3Ij-k59jVz_eQ","at":1795639409598312},{"type":"task.started","task":"pay","attempt":1,"agent":"a","key":"-gUh4NZM6Pm-d1tof2AdGzGozf0gIER2Q75Cy19efKM","at":1795639409598312}]',X'0719C1A680CABB85EFD23C6ADB15E533EBDDFBB29527B26DCB8B34E46BD75EF0',X'E4510B915130CA02589828EDF5D89A53B4B421E0E45F3CF13F0872B817CF2BEA');
INSERT INTO "records" VALUES(8,'undo',7,1,1795639409614934,'run',1,1,'engine','','[{"type":"task.succeeded","task":"pay","attempt":1,"result":"pay of attempt 1","at":1795639409614934}]',X'E4510B915130CA02589828EDF5D89A53B4B421E0E45F3CF13F0872B817CF2BEA',X'DAF58306F18A6D6D106A5140D103877C0B802F1EFB2CA9A54E767C0298F145A1');
INSERT INTO "records" VALUES(9,'undo',8,2,1795639409620845,'run',1,1,'engine','','[{"type":"task.succeeded","task":"side","attempt":1,"result":"side of attempt 1","at":1795639409620657},{"type":"task.started","task":"send","attempt":1,"agent":"a","key":"7MYWRWw6kLiCfKxkCzxiFspG5qXPbzWEE_zmI3easZE","at":1795639409620845}]',X'DAF58306F18A6D6D106A5140D103877C0B802F1EFB2CA9A54E767C0298F145A1',X'B1DE91B8C6F7CD29213AEF084C15FCFEBCA57741CC93DBC6D03683992E68116A');
INSERT INTO "records" VALUES(11,'undo',10,2,1795639409638098,'run',1,1,'engine','','[{"type":"task.succeeded","task":"send","attempt":1,"result":"send of attempt 1","at":1795639409638033},{"type":"task.started","task":"bad","attempt":1,"agent":"a","key":"1sF9862LUFro7kgY-3bOs5cCEYNpy-ksetC-M45B-Do","at":1795639409638098}]',X'B1DE91B8C6F7CD29213AEF084C15FCFEBCA57741CC93DBC6D03683992E68116A',X'DE74CBB7A46EAC5E7606078BD881772F2159CC336482120FEBB41FF4BD1C1C71');
INSERT INTO "records" VALUES(13,'undo',12,2,1795639409652800,'run',1,1,'engine','','[{"type":"task.failed","task":"bad","attempt":1,"fault":{"kind":"refused","message":"no","retriable":false},"draw":0.6765258923236394,"at":1795639409652608},{"type":"task.started","task":"send#undo","attempt":1,"agent":"a","key":"6sOMSUyT1hnPv1-qtPTeT6tXRI4Nj-4xp-WO9e8t4gY","at":1795639409652800}]',X'DE74CBB7A46EAC5E7606078BD881772F2159CC336482120FEBB41FF4BD1C1C71',X'35BDCC3FA45750CDCC753DA65B854D47366C9934AABAA85D33A62E0FA8FD93EE');
INSERT INTO "records" VALUES(15,'undo',14,2,1795639409666099,'run',1,1,'engine','','[{"type":"task.succeeded","task":"send#undo","attempt":1,"result":"send#undo of attempt 1","at":1795639409666036},{"type":"task.started","task":"pay#undo","attempt":1,"agent":"a","key":"u1ck_WZb62u_F6Tc-THoC9i6hp3PW-Kdc4XM8Pc9S1g","at":1795639409666099}]',X'35BDCC3FA45750CDCC753DA65B854D47366C9934AABAA85D33A62E0FA8FD93EE',X'30834BD2023F1118A6F7B030ED9A0B8D244E9B2404EEBAE0525F7C2DB1FF2C87');
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
INSERT INTO "runs" VALUES('undo','default','local','kills','compensating',1795639409567565,NULL,6,4,1);
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
COMMIT;
