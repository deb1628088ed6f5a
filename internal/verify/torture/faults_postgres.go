package main

const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"

func postgresFaults() []fault {
	list := append(through(),
		fault{name: "backends terminated", felt: felt{changed: oldestBackend}, begin: always(onPostgres(terminate))},
		fault{name: "read-only", felt: felt{failing: true, silent: true}, begin: func(s *site) error {
			if err := onPostgres("ALTER SYSTEM SET default_transaction_read_only = on")(s); err != nil {
				return err
			}
			return onPostgres("SELECT pg_reload_conf()")(s)
		}, end: func(s *site) error {
			if err := onPostgres("ALTER SYSTEM RESET default_transaction_read_only")(s); err != nil {
				return err
			}
			return onPostgres("SELECT pg_reload_conf()")(s)
		}},
		fault{name: "too many connections", felt: felt{silent: true}, begin: func(s *site) error {
			if err := onPostgres("ALTER DATABASE postgres CONNECTION LIMIT 0")(s); err != nil {
				return err
			}
			return onPostgres(terminate)(s)
		}, end: onPostgres("ALTER DATABASE postgres CONNECTION LIMIT -1")},
		fault{name: "data flushed", begin: onPostgres("DELETE FROM throttle"), amnesia: true},
		fault{name: "disk full: the server panics", site: postgresOnDisk, felt: felt{silent: true}, begin: fillLog, end: freeAndRestart},
		fault{name: "synchronous standby promoted, primary killed", site: postgresPair(true), felt: felt{silent: true}, begin: killPrimary, end: promote},
		fault{name: "synchronous standby promoted, clients know both", site: postgresHosts, felt: felt{silent: true}, begin: killPrimary, end: promote},
		fault{name: "asynchronous standby promoted, primary killed", site: postgresPair(false), felt: felt{silent: true}, lag: postgresLag, begin: killPrimary, end: promote},
	)
	return append(append(list, clocks(postgresWithClock)...), downs()...)
}

// fillLog fills the disk and goes on writing to the log until that needs room.
func fillLog(s *site) error {
	if err := s.disk.Fill(); err != nil {
		return err
	}
	// An error is what is wanted: the server has panicked. It may also have room for a while in segments that it keeps.
	_ = onPostgres("SELECT pg_logical_emit_message(false, 'torture', repeat('x', 1000000)) FROM generate_series(1, 100)")(s)
	return nil
}

func killPrimary(s *site) error { s.server.Kill(); return nil }

// promote makes the standby the primary, and leads the proxy's clients to it.
func promote(s *site) error {
	if err := s.pair.Promote(); err != nil {
		return err
	}
	s.server = s.pair.Standby
	if s.proxy != nil {
		s.proxy.Target(s.server.Addr)
	}
	return nil
}
