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
INSERT INTO "definitions" VALUES('01ffe6477a5c49f0a978d97835adbe0f79e80e2eac86c2dcf3f3eec3e8287a4c','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"hopeless","agent":"a","name":"hopeless","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('14b3093909c37e42113a6384db3db58aad199c99ca421c1fcd21893f3b17d541','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"limited","agent":"a","name":"limited","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('292a2d0caee3ca8f79700f7205e0e421049c6f6f3a7dd5ac46b8cf92b1b1aa17','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"work","agent":"a","compensate":{"action":"work","agent":"a","retry":{"initial_delay":0.02,"jitter":false,"strategy":"constant_delay"}},"name":"one","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","compensate":{"action":"work","agent":"a","retry":{"initial_delay":0.02,"jitter":false,"strategy":"constant_delay"}},"depends_on":["one"],"name":"two","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"refuse","agent":"a","depends_on":["two"],"name":"bad","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('4d7c66474fe49ae3f13590345de0c0d561af123f0d8322c16f4812602cb19473','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":2,"name":"kills","tasks":[{"action":"slow","agent":"a","name":"s0","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","name":"s1","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","name":"s2","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","name":"s3","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('51b7a1325d7b30f09c01e35d7eda07787440acbfdfae0dc02a78e193c5b4ea12','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"slow","agent":"narrow","name":"n0","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"narrow","name":"n1","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"narrow","name":"n2","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('67b2fed926f3031e1b5d1a6b8c108e837e078e9b607d727c5782163778c1f84b','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"slow","agent":"a","name":"long","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["long"],"name":"after","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"refuse","agent":"a","name":"bad","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["after"],"name":"z","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('68fbcb5d80aee72d00d78bf3dfc4f344e69b1cf30cc46d3f715b69831fec6b3b','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"flaky","agent":"a","name":"fails","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["fails"],"name":"then","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('78dc2b9d00f94c82649e7081a7bc7ca398f3ecde85fbeb3ca64a3480733d4462','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"forever","agent":"a","name":"forever","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["forever"],"name":"after","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('7c2874bb1249ec7517898618723edcc4d440fd19790bf91280923d07119adec1','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"forever","agent":"a","effect":"once","name":"acts","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"},"timeout":0.05}],"timeout":null}');
INSERT INTO "definitions" VALUES('b8ddf53f2a9e5c3570e29ee325b3df1ce885e2bbaea41f0f65b88d71d552e5ee','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"work","agent":"a","effect":"keyed","name":"top","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["top"],"name":"left","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"slow","agent":"a","depends_on":["top"],"name":"right","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["left","right"],"name":"bottom","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["bottom"],"effect":"none","name":"read","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('bfeb34fda09ef0f9bfa684511a62106977eb50e9d827b0f681ceeb20960e687e','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"work","agent":"a","name":"only","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
INSERT INTO "definitions" VALUES('ec183646aec8ce43c7e6629a802df866376f8ddff609c9d5a59d2397d565c150','{"agents":[{"endpoint":"custom://w","name":"a","type":"custom"},{"endpoint":"custom://w","max_concurrency":1,"name":"narrow","type":"custom"}],"max_parallel":4,"name":"kills","tasks":[{"action":"slow","agent":"a","effect":"once","name":"acts","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}},{"action":"work","agent":"a","depends_on":["acts"],"name":"then","retry":{"initial_delay":0.02,"jitter":false,"max_attempts":2,"strategy":"constant_delay"}}],"timeout":null}');
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
INSERT INTO "records" VALUES(1,'diamond',1,3,1795666561020341,'run',1,2,'engine','','[{"type":"run.submitted","run":"diamond","name":"kills","definition":"b8ddf53f2a9e5c3570e29ee325b3df1ce885e2bbaea41f0f65b88d71d552e5ee","at":1795666561019893},{"type":"run.started","at":1795666561020341},{"type":"task.started","task":"top","attempt":1,"agent":"a","key":"vLmnEw-foD4aHTvIt2jD_1D6uOAZzc2Nas_tV2jBw8w","at":1795666561020341}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'8E3F09BC97621C5DF3F073EE8EFA6698C8E2D97F03B2BDA2B2A7F4BFCBC72D5B');
INSERT INTO "records" VALUES(4,'asked',1,3,1795666561020341,'run',1,2,'engine','','[{"type":"run.submitted","run":"asked","name":"kills","definition":"14b3093909c37e42113a6384db3db58aad199c99ca421c1fcd21893f3b17d541","at":1795666561020284},{"type":"run.started","at":1795666561020341},{"type":"task.started","task":"limited","attempt":1,"agent":"a","key":"Aegu-lJGgeoecP0Y1p-stXuz685KNTz0q5oPsoziHFY","at":1795666561020341}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'6C44B711BDD755F13B732EC40D9C146E713A18254EC8230F35431D5A3CC87B49');
INSERT INTO "records" VALUES(7,'hive',1,2,1795666561020288,'hive',1,2,'engine','','[{"type":"hive.run_opened","run":"diamond","at":1795666561019913},{"type":"hive.run_opened","run":"asked","at":1795666561020288}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'32D2ABD62A0398A5D2BBD21230FFFA78F33811D2A937C34DA9FFED23681FE512');
INSERT INTO "records" VALUES(9,'diamond',4,3,1795666561027901,'run',1,2,'engine','','[{"type":"task.succeeded","task":"top","attempt":1,"result":"top of attempt 1","at":1795666561027199},{"type":"task.started","task":"right","attempt":1,"agent":"a","key":"io_efnVyDQtcKUMTDWXHVvHWOZNqyrbMXYSzaS8KrI8","at":1795666561027901},{"type":"task.started","task":"left","attempt":1,"agent":"a","key":"i8auinP2vuszojVimvztSKWygGEjbE6e6NRDH8h1QAw","at":1795666561027901}]',X'8E3F09BC97621C5DF3F073EE8EFA6698C8E2D97F03B2BDA2B2A7F4BFCBC72D5B',X'9F40DD28784D5977F5E3F3BE189F08DD31DA40ECF361621F14475AFF298BF2CB');
INSERT INTO "records" VALUES(12,'asked',4,1,1795666561027794,'run',1,2,'engine','','[{"type":"task.failed","task":"limited","attempt":1,"fault":{"kind":"connection","message":"no","retry_after":0.1},"draw":0.14234162667936312,"at":1795666561027794}]',X'6C44B711BDD755F13B732EC40D9C146E713A18254EC8230F35431D5A3CC87B49',X'5CF0F4C13E7B721EC6707C2B08EFA99FC60C4EA889548306A148D9641F39B177');
INSERT INTO "records" VALUES(13,'diamond',7,1,1795666561230995,'run',1,2,'engine','','[{"type":"task.succeeded","task":"left","attempt":1,"result":"left of attempt 1","at":1795666561230995}]',X'9F40DD28784D5977F5E3F3BE189F08DD31DA40ECF361621F14475AFF298BF2CB',X'98B3C8B7ABAA4B614D5C6FC97E5AC5F8D46C77694A8EF2D9CA0715AE5DD3551E');
INSERT INTO "records" VALUES(14,'asked',5,2,1795666561231095,'run',1,2,'engine','','[{"type":"task.woke","task":"limited","at":1795666561231095},{"type":"task.started","task":"limited","attempt":2,"agent":"a","key":"Aegu-lJGgeoecP0Y1p-stXuz685KNTz0q5oPsoziHFY","at":1795666561231095}]',X'5CF0F4C13E7B721EC6707C2B08EFA99FC60C4EA889548306A148D9641F39B177',X'3543AF672F95FCA3A13BC505A353832E5F4BE51C87ECC20EEF0CD6B2EF617350');
INSERT INTO "records" VALUES(16,'slots',1,4,1795666561235747,'run',1,2,'engine','','[{"type":"run.submitted","run":"slots","name":"kills","definition":"4d7c66474fe49ae3f13590345de0c0d561af123f0d8322c16f4812602cb19473","at":1795666561231468},{"type":"run.started","at":1795666561235747},{"type":"task.started","task":"s0","attempt":1,"agent":"a","key":"oy-uGkF4_kz-lyf7qI67VNniMgH56lHqHp1I_TKtQ_8","at":1795666561235747},{"type":"task.started","task":"s1","attempt":1,"agent":"a","key":"iKg96w-5VEnR8u-MndvRENpiS4yWVR6zLxDUwaayB0g","at":1795666561235747}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'7E0F17D1160BE7D1B402F4043E09867A00BE915EB3E7446676946221BD6E2465');
INSERT INTO "records" VALUES(20,'never',1,3,1795666561235747,'run',1,2,'engine','','[{"type":"run.submitted","run":"never","name":"kills","definition":"01ffe6477a5c49f0a978d97835adbe0f79e80e2eac86c2dcf3f3eec3e8287a4c","at":1795666561231702},{"type":"run.started","at":1795666561235747},{"type":"task.started","task":"hopeless","attempt":1,"agent":"a","key":"TXNRh_MXiGzsc66Vof9jxgT1u4wAcYGYYjtkOaWHuX8","at":1795666561235747}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'C46D5E2B6DF1034C134CE351E3AE5ED11DA16352284DB9E03BAD42B2A8D7A484');
INSERT INTO "records" VALUES(23,'cancel',1,3,1795666561235747,'run',1,2,'engine','','[{"type":"run.submitted","run":"cancel","name":"kills","definition":"78dc2b9d00f94c82649e7081a7bc7ca398f3ecde85fbeb3ca64a3480733d4462","at":1795666561232106},{"type":"run.started","at":1795666561235747},{"type":"task.started","task":"forever","attempt":1,"agent":"a","key":"WWEAe6C4TruNwoNP1Qk-SIBbpkNU1JPriWQNPcox11Y","at":1795666561235747}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'3FE4F3EED3F90871471DD79CC653ADFE495A97C7F332EE3E708114F1CB566917');
INSERT INTO "records" VALUES(26,'flaky',1,3,1795666561235747,'run',1,2,'engine','','[{"type":"run.submitted","run":"flaky","name":"kills","definition":"68fbcb5d80aee72d00d78bf3dfc4f344e69b1cf30cc46d3f715b69831fec6b3b","at":1795666561232144},{"type":"run.started","at":1795666561235747},{"type":"task.started","task":"fails","attempt":1,"agent":"a","key":"8y-JddGTQNTnKuryJ9skTsMnq2hQltyqxGhS2mw8pJ8","at":1795666561235747}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'0D3AFAF5452323997B949370F698F03DC72276B81DA9CF2F634D4E77C2D381BE');
INSERT INTO "records" VALUES(29,'saga',1,1,1795666561232470,'run',1,2,'engine','','[{"type":"run.submitted","run":"saga","name":"kills","definition":"292a2d0caee3ca8f79700f7205e0e421049c6f6f3a7dd5ac46b8cf92b1b1aa17","at":1795666561232470}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'E706B070B12A021AA8DF0A5657017594747690AC7EA53BA6C163727F55741E30');
INSERT INTO "records" VALUES(30,'narrow',1,1,1795666561232505,'run',1,2,'engine','','[{"type":"run.submitted","run":"narrow","name":"kills","definition":"51b7a1325d7b30f09c01e35d7eda07787440acbfdfae0dc02a78e193c5b4ea12","at":1795666561232505}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'4055F1636C7C78CE7A6FD19AA52AFE37503F040BE52862FFCCB5636EA59D49DD');
INSERT INTO "records" VALUES(31,'once',1,1,1795666561232535,'run',1,2,'engine','','[{"type":"run.submitted","run":"once","name":"kills","definition":"ec183646aec8ce43c7e6629a802df866376f8ddff609c9d5a59d2397d565c150","at":1795666561232535}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'8117A170478506C6E6FF33FE25B09206F30B73EF4C3524718775E764CFB519CE');
INSERT INTO "records" VALUES(32,'stop',1,1,1795666561232560,'run',1,2,'engine','','[{"type":"run.submitted","run":"stop","name":"kills","definition":"67b2fed926f3031e1b5d1a6b8c108e837e078e9b607d727c5782163778c1f84b","at":1795666561232560}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'7F490213938A1619F66113CCEB37BBDAD2769A8AC9C2D5BE52AC5AAA28348C7D');
INSERT INTO "records" VALUES(33,'hangs',1,1,1795666561232579,'run',1,2,'engine','','[{"type":"run.submitted","run":"hangs","name":"kills","definition":"7c2874bb1249ec7517898618723edcc4d440fd19790bf91280923d07119adec1","at":1795666561232579}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'173A160A9AF817E6A93FCB0B190849C6AD32AAC7B6CAFCF8DB2A842B09B00F23');
INSERT INTO "records" VALUES(34,'last',1,1,1795666561232598,'run',1,2,'engine','','[{"type":"run.submitted","run":"last","name":"kills","definition":"bfeb34fda09ef0f9bfa684511a62106977eb50e9d827b0f681ceeb20960e687e","at":1795666561232598}]',X'0000000000000000000000000000000000000000000000000000000000000000',X'0CBEC5492FCAC02BC3533C494234977F13B9BFE5D2527A7E6CA923BA170AA111');
INSERT INTO "records" VALUES(35,'asked',7,1,1795666561235672,'run',1,2,'engine','','[{"type":"task.succeeded","task":"limited","attempt":2,"result":"limited of attempt 2","at":1795666561235672}]',X'3543AF672F95FCA3A13BC505A353832E5F4BE51C87ECC20EEF0CD6B2EF617350',X'D78B40BA88963CC94F7CEB85B7C51289B5A40AFD435FF84BA4AA29B4FEAB0507');
INSERT INTO "records" VALUES(36,'hive',3,11,1795666561235672,'hive',1,2,'engine','','[{"type":"hive.run_opened","run":"slots","at":1795666561231473},{"type":"hive.run_opened","run":"never","at":1795666561231705},{"type":"hive.run_opened","run":"cancel","at":1795666561232110},{"type":"hive.run_opened","run":"flaky","at":1795666561232146},{"type":"hive.run_opened","run":"saga","at":1795666561232473},{"type":"hive.run_opened","run":"narrow","at":1795666561232507},{"type":"hive.run_opened","run":"once","at":1795666561232537},{"type":"hive.run_opened","run":"stop","at":1795666561232561},{"type":"hive.run_opened","run":"hangs","at":1795666561232581},{"type":"hive.run_opened","run":"last","at":1795666561232600},{"type":"hive.run_closed","run":"asked","status":"completed","events":7,"at":1795666561235672}]',X'32D2ABD62A0398A5D2BBD21230FFFA78F33811D2A937C34DA9FFED23681FE512',X'377901374EE4BAEDCB9F317E6E03919612D6D6A878A4F6ACE901AFB110FE54E5');
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
INSERT INTO "runs" VALUES('asked','default','local','kills','completed',1795666561020284,1795666561235672,1,1,0);
INSERT INTO "runs" VALUES('cancel','default','local','kills','running',1795666561232106,NULL,2,0,0);
INSERT INTO "runs" VALUES('diamond','default','local','kills','running',1795666561019893,NULL,5,0,0);
INSERT INTO "runs" VALUES('flaky','default','local','kills','running',1795666561232144,NULL,2,0,0);
INSERT INTO "runs" VALUES('hangs','default','local','kills','queued',1795666561232579,NULL,1,0,0);
INSERT INTO "runs" VALUES('last','default','local','kills','queued',1795666561232598,NULL,1,0,0);
INSERT INTO "runs" VALUES('narrow','default','local','kills','queued',1795666561232505,NULL,3,0,0);
INSERT INTO "runs" VALUES('never','default','local','kills','running',1795666561231702,NULL,1,0,0);
INSERT INTO "runs" VALUES('once','default','local','kills','queued',1795666561232535,NULL,2,0,0);
INSERT INTO "runs" VALUES('saga','default','local','kills','queued',1795666561232470,NULL,3,0,0);
INSERT INTO "runs" VALUES('slots','default','local','kills','running',1795666561231468,NULL,4,0,0);
INSERT INTO "runs" VALUES('stop','default','local','kills','queued',1795666561232560,NULL,4,0,0);
CREATE TABLE uses (
    stream TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO "uses" VALUES('never','01ffe6477a5c49f0a978d97835adbe0f79e80e2eac86c2dcf3f3eec3e8287a4c');
INSERT INTO "uses" VALUES('asked','14b3093909c37e42113a6384db3db58aad199c99ca421c1fcd21893f3b17d541');
INSERT INTO "uses" VALUES('saga','292a2d0caee3ca8f79700f7205e0e421049c6f6f3a7dd5ac46b8cf92b1b1aa17');
INSERT INTO "uses" VALUES('slots','4d7c66474fe49ae3f13590345de0c0d561af123f0d8322c16f4812602cb19473');
INSERT INTO "uses" VALUES('narrow','51b7a1325d7b30f09c01e35d7eda07787440acbfdfae0dc02a78e193c5b4ea12');
INSERT INTO "uses" VALUES('stop','67b2fed926f3031e1b5d1a6b8c108e837e078e9b607d727c5782163778c1f84b');
INSERT INTO "uses" VALUES('flaky','68fbcb5d80aee72d00d78bf3dfc4f344e69b1cf30cc46d3f715b69831fec6b3b');
INSERT INTO "uses" VALUES('cancel','78dc2b9d00f94c82649e7081a7bc7ca398f3ecde85fbeb3ca64a3480733d4462');
INSERT INTO "uses" VALUES('hangs','7c2874bb1249ec7517898618723edcc4d440fd19790bf91280923d07119adec1');
INSERT INTO "uses" VALUES('diamond','b8ddf53f2a9e5c3570e29ee325b3df1ce885e2bbaea41f0f65b88d71d552e5ee');
INSERT INTO "uses" VALUES('last','bfeb34fda09ef0f9bfa684511a62106977eb50e9d827b0f681ceeb20960e687e');
INSERT INTO "uses" VALUES('once','ec183646aec8ce43c7e6629a802df866376f8ddff609c9d5a59d2397d565c150');
CREATE INDEX runs_by_age ON runs (tenant, created DESC);
CREATE INDEX runs_open ON runs (tenant) WHERE finished IS NULL;
CREATE INDEX uses_by_digest ON uses (digest);
CREATE INDEX cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
COMMIT;
