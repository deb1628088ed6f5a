package postgres

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tokenthrottle/throttle/bucket"
)

// The binary forms that travel: text, timestamptz and int8, and arrays of the first two.

const (
	// pgEpoch is Postgres's zero of time, 2000-01-01, in microseconds since 1970.
	pgEpoch bucket.Micros = 946_684_800_000_000
)

// param is a parameter of a statement. No data is null.
type param struct {
	oid  uint32 // of its type
	data []byte
}

func textParam[T string | []byte](text T) *param { return &param{pgtype.TextOID, []byte(text)} }

// instantParam is null for [bucket.Forever].
func instantParam(at bucket.Micros) *param {
	p := &param{oid: pgtype.TimestamptzOID}
	if at != bucket.Forever {
		p.data = binary.BigEndian.AppendUint64(nil, uint64(at-pgEpoch))
	}
	return p
}

// array is a one-dimensional array being put together.
type array struct{ param }

func newArray(arrayOID, elementOID uint32, n int) *array {
	a := &array{param{oid: arrayOID}}
	a.data = binary.BigEndian.AppendUint32(a.data, 1) // dimensions
	a.data = binary.BigEndian.AppendUint32(a.data, 1) // there may be nulls
	a.data = binary.BigEndian.AppendUint32(a.data, elementOID)
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(n))
	a.data = binary.BigEndian.AppendUint32(a.data, 1) // the first index
	return a
}

func textArray(n int) *array { return newArray(pgtype.TextArrayOID, pgtype.TextOID, n) }
func timeArray(n int) *array { return newArray(pgtype.TimestamptzArrayOID, pgtype.TimestamptzOID, n) }

func (a *array) null() { a.data = binary.BigEndian.AppendUint32(a.data, math.MaxUint32) }

func addText[T string | []byte](a *array, text T) {
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(len(text)))
	a.data = append(a.data, text...)
}

// addInstant adds an instant; [bucket.Forever] is null.
func (a *array) addInstant(at bucket.Micros) {
	if at == bucket.Forever {
		a.null()
		return
	}
	a.data = binary.BigEndian.AppendUint32(a.data, 8)
	a.data = binary.BigEndian.AppendUint64(a.data, uint64(at-pgEpoch))
}

func decodeInt8(data []byte) (int64, error) {
	if len(data) != 8 {
		return 0, fmt.Errorf("an int8 of %d bytes", len(data))
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}

func decodeInstant(data []byte) (bucket.Micros, error) {
	n, err := decodeInt8(data)
	return bucket.Micros(n) + pgEpoch, err
}
