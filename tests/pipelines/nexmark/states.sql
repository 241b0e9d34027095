-- Every state that somebody comes from, once.

CREATE TABLE person (
  id            BIGINT,
  name          STRING,
  email_address STRING,
  credit_card   STRING,
  city          STRING,
  state         STRING,
  date_time     TIMESTAMP(3),
  extra         STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('topic' = 'nexmark-person', 'format' = 'json');

CREATE TABLE states (
  state STRING,
  PRIMARY KEY (state) NOT ENFORCED
) WITH ('topic' = 'nexmark-states', 'format' = 'json', 'output' = 'upsert');

INSERT INTO states
SELECT DISTINCT state FROM person
UNBOUNDED;
