"""What is in the file: its tables by version, how one version is made of the one before, and its views.

``docs/sqlite.md`` says which of these other programs can rely on.

*Ids.* ``id = run number << 40 | item index`` is the primary key of all that belongs to an item: rows lie in
the order in which they are read, and no other index is needed.

*Packs.* Results of consecutive items that a process hands over together are one row: for tiny tasks
thousands, for others one. So an item costs hardly more than its bytes, in time and on disk. A result that
is in a file of its own is a pack of its own, so that its row says so.

*The log.* Each transaction that stores how items ended adds the spans of their ids to ``ended``. As SQLite
lets transactions write one after the other, and rows of this table are never deleted, whatever is behind
the last number that a reader saw was stored after that reading, whoever wrote it.

Names, of columns and tables, are never quoted, functions are those that SQLite had in 2018, and operators,
too: an older SQLite refuses the whole file if it cannot parse one view.
"""

from __future__ import annotations

from farmhand_sqlite.file import Schema

__all__ = ["SCHEMAS", "SHIFT"]

SHIFT = 40

# Texts that are no valid Unicode are kept as bytes, so these columns have no type.
SCHEMA_1 = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, task, computer, started REAL,
    numitems INTEGER, seed TEXT, ended REAL, outcome TEXT DEFAULT '', done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE results (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL, value BLOB);
CREATE TABLE attempts (id INTEGER PRIMARY KEY, attempts INTEGER NOT NULL);
CREATE TABLE failures (id INTEGER PRIMARY KEY, process INTEGER, started REAL, seconds REAL,
    attempts INTEGER, kind, type, message, traceback);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, offsets BLOB, payload BLOB,
    fingerprints BLOB, texts TEXT, keys TEXT);
"""
# The memory comes before the output, so that reading the one does not read the other.
SCHEMA_2 = """
CREATE TABLE usage (id INTEGER PRIMARY KEY, memory INTEGER, output);
CREATE TABLE retried (id INTEGER, attempt INTEGER, process INTEGER, started REAL, seconds REAL,
    memory INTEGER, kind, type, message, traceback, output, PRIMARY KEY (id, attempt)) WITHOUT ROWID;
"""
# ``id`` is that of the first of ``count`` items, ``started`` when the first began, ``seconds`` what they
# took together. Where there are several, ``each`` has how long each took, as little-endian doubles; it
# began when the one before it had ended.
SCHEMA_3 = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, process INTEGER, started REAL,
    seconds REAL, each BLOB, payload BLOB);
INSERT INTO packs SELECT id, 1, process, started, seconds, NULL, value FROM results;
DROP TABLE results;
"""
# A ``description`` is JSON of ``count`` consecutive items (see ``plain.py``), the first of which has that id;
# with a ``step``, it is the first of so many ints, each of which is greater by that than the one before it.
SCHEMA_4 = """
CREATE TABLE store (name TEXT NOT NULL);
INSERT INTO store VALUES (lower(hex(randomblob(8))));
ALTER TABLE runs ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN parameters TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN owner DEFAULT '';
ALTER TABLE runs ADD COLUMN provenance TEXT NOT NULL DEFAULT '{}';
UPDATE runs SET
    failed = (SELECT count(*) FROM failures WHERE id >= number << 40 AND id < number + 1 << 40),
    retried = (SELECT count(*) FROM retried WHERE id >= number << 40 AND id < number + 1 << 40);
CREATE TABLE items (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, step INTEGER, description TEXT NOT NULL);
CREATE TABLE ended (number INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE shipped (run INTEGER, number INTEGER, data BLOB, PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE shelves (session, name, value BLOB, PRIMARY KEY (session, name)) WITHOUT ROWID;
"""
_STAND_IN_4 = """
CREATE TEMP TABLE store AS
SELECT 'old' || coalesce((SELECT uid FROM main.runs ORDER BY number LIMIT 1), '') AS name;
CREATE TEMP VIEW runs AS SELECT *,
    (SELECT count(*) FROM failures WHERE id >= number << 40 AND id < number + 1 << 40) AS failed,
    (SELECT count(*) FROM retried WHERE id >= number << 40 AND id < number + 1 << 40) AS retried,
    '[]' AS parameters, '' AS owner, '{}' AS provenance FROM main.runs;
CREATE TEMP TABLE items (id INTEGER PRIMARY KEY, count INTEGER, step INTEGER, description TEXT);
CREATE TEMP TABLE ended (number INTEGER PRIMARY KEY, first INTEGER, last INTEGER);
CREATE TEMP TABLE shipped (run INTEGER, number INTEGER, data BLOB);
CREATE TEMP TABLE shelves (session, name, value BLOB);
"""
_ISO = "strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch')"
# The length is in the head of a row, so that large results are not read for the sake of their first byte.
_FILE = """CASE WHEN count = 1 AND length(payload) < 200 AND substr(payload, 1, 1) = x'40'
        THEN CAST(payload AS TEXT) END"""
# A part of a description as it is written there: SQLite's own numbers have fewer digits, and no infinity.
_PART = "substr(json_extract(description, {0}, '$.x'), 2, length(json_extract(description, {0}, '$.x')) - 7)"
_NAME = "json_quote(coalesce(json_extract(r.parameters, '$[' || {0} || ']'), 'arg' || {0}))"
_PLACE = "'$[' || (e.id - i.id) || ']'"
_STEPPED = "'{' || " + _NAME.format("0") + " || ':' || (description + (e.id - i.id) * step) || '}'"
_PARAMETERS = f"""(SELECT CASE
        WHEN e.id >= i.id + count THEN NULL
        WHEN step IS NOT NULL THEN {_STEPPED}
        ELSE CASE coalesce(json_type(description, {_PLACE}), 'null')
        WHEN 'null' THEN NULL
        WHEN 'object' THEN json_extract(description, {_PLACE})
        WHEN 'array' THEN '{{' || coalesce((
            SELECT group_concat({_NAME.format("key")} || ':' || {_PART.format("fullkey")})
            FROM json_each(description, {_PLACE})), '') || '}}'
        ELSE '{{' || {_NAME.format("0")} || ':' || {_PART.format(_PLACE)} || '}}' END END
    FROM items AS i WHERE i.id <= e.id AND i.id >= e.id & ~1099511627775 ORDER BY i.id DESC LIMIT 1)"""
# What an item of a pack took is known to ``each`` alone, which SQL cannot read: this has the mean.
VIEWS_4 = f"""
CREATE VIEW records AS
WITH RECURSIVE done(id, last, process, started, seconds, file) AS (
    SELECT id, id + count - 1, process, started, seconds / count, {_FILE} FROM packs
    UNION ALL
    SELECT id + 1, last, process, started + seconds, seconds, NULL FROM done WHERE id < last
), e AS (
    SELECT id, 'done' AS status, process, started, seconds, NULL AS tries,
        NULL AS error, NULL AS error_type, NULL AS message, file FROM done
    UNION ALL
    SELECT id, 'failed', process, started, seconds, attempts, kind, type, message, NULL FROM failures
)
SELECT r.uid || '-' || (e.id & 1099511627775) AS key, r.uid AS run, r.task AS task,
    e.id & 1099511627775 AS item, e.status AS status, e.process AS process,
    {_ISO.format("e.started")} AS started_at, e.started AS started, e.seconds AS seconds,
    coalesce(e.tries, (SELECT attempts FROM attempts WHERE id = e.id), 1) AS attempts,
    (SELECT memory FROM usage WHERE id = e.id) AS memory,
    e.error AS error, e.error_type AS error_type, e.message AS message,
    {_PARAMETERS} AS parameters,
    CASE WHEN e.file IS NOT NULL
        THEN r.uid || '/' || replace(e.file, rtrim(e.file, replace(e.file, ' ', '')), '') END AS file,
    e.id AS id
FROM e JOIN runs AS r ON r.number = e.id >> 40;
CREATE VIEW retries AS
SELECT r.uid || '-' || (e.id & 1099511627775) AS key, r.uid AS run, r.task AS task,
    e.id & 1099511627775 AS item, e.attempt AS attempt, e.process AS process,
    {_ISO.format("e.started")} AS started_at, e.started AS started, e.seconds AS seconds,
    e.memory AS memory, e.kind AS error, e.type AS error_type, e.message AS message, e.id AS id
FROM retried AS e JOIN runs AS r ON r.number = e.id >> 40;
"""
SCHEMAS = (
    Schema(SCHEMA_1),
    Schema(SCHEMA_2, SCHEMA_2.replace("CREATE", "CREATE TEMP")),
    Schema(
        SCHEMA_3,
        """
        CREATE TEMP VIEW packs AS
        SELECT id, 1 AS count, process, started, seconds, NULL AS each, value AS payload FROM results;
        """,
    ),
    Schema(SCHEMA_4 + VIEWS_4, _STAND_IN_4),
)
