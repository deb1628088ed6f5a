-- The table of throttle's Postgres driver. postgres.Migrate runs this, with the schema and table of your choice; you may
-- run it yourself instead, as it is or with other names.

CREATE TABLE "public"."throttle" (
    -- The limiter's key. A backslash is doubled, and \xHH is a byte that text can't hold. Bytewise order ("C") is fast,
    -- and no upgrade of the system's collations can break its index.
    key        text COLLATE "C" PRIMARY KEY,
    -- A key too long for an index, whole; "key" then ends with its hash.
    full_key   text COLLATE "C",
    -- What bucket.State.Encode writes: levels as of "at", who waits, and the batches applied last.
    state      json NOT NULL,
    -- From when on the key equals one that was never used, so that its row may be deleted; NULL for never.
    absent_at  timestamptz,
    -- When to look whether it may: a minute after "absent_at" as it was when the row came, later for one that is still in
    -- use then. It is set with the row and moved only by whoever looks: an index on something that each update changes
    -- would make each of them write the index, and leave a dead entry there.
    prune_at   timestamptz NOT NULL
) WITH (
    -- Half of each page is kept free, so that a row's next version fits beside it and the dead ones are cleared away
    -- by the next reader, without vacuum.
    fillfactor = 50,
    -- Two versions of a row still fit a page if it has 4 kB. A longer state, of a long line, is compressed first; what is
    -- longer even then is stored apart, where only vacuum clears away.
    toast_tuple_target = 4080,
    -- Vacuum should come soon then, as after something that has kept dead versions alive for long, and not dawdle. It
    -- leaves the file its size: what it has freed is needed again, and to shrink the file it would lock everybody out.
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false,
    toast.autovacuum_vacuum_scale_factor = 0.0,
    toast.autovacuum_vacuum_threshold = 500,
    toast.autovacuum_vacuum_cost_delay = 0,
    toast.vacuum_truncate = false,
    autovacuum_analyze_scale_factor = 0.0,
    autovacuum_analyze_threshold = 100000
);

CREATE INDEX ON "public"."throttle" (prune_at);

COMMENT ON TABLE "public"."throttle" IS 'github.com/tokenthrottle/throttle, table version 1';
