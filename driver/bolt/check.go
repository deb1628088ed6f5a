package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// A bbolt file is an array of pages, numbers in the machine's byte order. A page begins with its number (8 bytes), what
// it is (2), how many elements it has (2) and how many pages follow it that belong to it (4). Pages 0 and 1 are metas,
// of which the one of the newest transaction with a good checksum counts; it says where the tree of buckets begins.
// Elements, 16 bytes each, follow the header; they give the places of their keys and values relative to themselves.
const (
	headerSize  = 16
	elementSize = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	maxDepth    = 64

	branchPage = 1
	leafPage   = 2
	bucketFlag = 1 // of a leaf's element: its value is a bucket
	bucketSize = 16
)

// checker walks all pages that can be reached.
type checker struct {
	meta
	file io.ReaderAt
	seen []bool // by page
	leaf []byte // room for one, of which there are many

	within      []byte // the name of the bucket of buckets' that is walked, if it is one of ours
	sum, stated uint64 // of all values, as they are and as the file says
}

// check returns an error if the file, which has such a size, can't be used safely.
func check(file io.ReaderAt, size int64) error {
	m, older, err := metas(file)
	if err != nil {
		return err
	}
	if err := m.fits(size); err != nil {
		return err
	}
	// A commit writes one meta page, in one sector of the disk, over the one before the last. So both are always whole
	// and of transactions that follow each other; where one isn't, a newer transaction may be lost.
	if older.pageSize != m.pageSize || older.txid+1 != m.txid {
		return errors.New("one of its two meta pages is not whole or out of date: the last commit may be missing")
	}
	c := &checker{meta: m, file: file, seen: make([]bool, m.high)}
	if _, err = c.tree(m.root, nil, nil, 0); err != nil {
		return err
	}
	if c.sum != c.stated {
		return errors.New("its keys don't add up to the sum that it states: some are missing, or from an older commit")
	}
	return nil
}

// meta is what a meta page says.
type meta struct {
	pageSize int64
	root     uint64 // the page where the tree of buckets begins
	high     uint64 // pages from here on don't exist yet
	txid     uint64
}

// fits returns an error if the file is smaller than its pages. A file that is being written is never smaller: it grows
// before the meta that says so is written.
func (m meta) fits(size int64) error {
	if m.high < 4 || m.high > uint64(size/m.pageSize) {
		return fmt.Errorf("it has %d bytes where its %d pages of %d bytes should be: it was cut short", size, m.high, m.pageSize)
	}
	return nil
}

// metas finds the meta that counts, and the one before it, if that is whole. The second one lies where the page size
// says, which the first one may no longer tell.
func metas(file io.ReaderAt) (newest, older meta, err error) {
	for at := int64(0); at <= 1<<16; at = max(512, 2*at) {
		var b [metaSize]byte
		if _, err := file.ReadAt(b[:], at+headerSize); err != nil {
			break // a small file with small pages
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSize-8])
		m := meta{
			pageSize: int64(binary.NativeEndian.Uint32(b[8:])),
			root:     binary.NativeEndian.Uint64(b[16:]),
			high:     binary.NativeEndian.Uint64(b[40:]),
			txid:     binary.NativeEndian.Uint64(b[48:]),
		}
		whole := binary.NativeEndian.Uint32(b[:]) == metaMagic && binary.NativeEndian.Uint64(b[metaSize-8:]) == sum.Sum64()
		switch {
		case !whole || m.pageSize < 512 || (at != 0 && at != m.pageSize):
		case newest.pageSize == 0 || m.txid > newest.txid:
			newest, older = m, newest
		default:
			older = m
		}
	}
	if newest.pageSize == 0 {
		return meta{}, meta{}, errors.New("neither of its meta pages is whole")
	}
	return newest, older, nil
}

// tree checks the pages below one, whose keys must lie from least (nil: anything) up to, not including, most (nil:
// anything), and returns the last of them.
func (c *checker) tree(id uint64, least, most []byte, depth int) (last []byte, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("page %d is %d levels deep", id, depth)
	}
	page, err := c.page(id)
	if err != nil {
		return nil, err
	}
	if binary.NativeEndian.Uint16(page[8:]) == leafPage {
		if holdsBuckets(page) {
			page = bytes.Clone(page) // it is looked at again after the leaves below it
		}
		last, err = c.elements(page, id, least, most, depth)
		return bytes.Clone(last), err
	}
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 {
		return nil, fmt.Errorf("page %d is a branch without elements", id)
	}
	bounds := make([][]byte, count+1)
	bounds[count] = most
	for i := range count {
		if bounds[i], _, err = slot(page, i, 0, 4, -1); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
	}
	last = least
	for i := range count {
		if bytes.Compare(bounds[i], last) < 0 || (i > 0 && last != nil && bytes.Equal(bounds[i], last)) || (most != nil && bytes.Compare(bounds[i], most) >= 0) {
			return nil, fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		child := binary.NativeEndian.Uint64(page[headerSize+i*elementSize+8:])
		below, err := c.tree(child, bounds[i], bounds[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		last = below
	}
	return last, nil
}

// elements checks those of a leaf, on a page or inside one, and the trees of those that are buckets.
func (c *checker) elements(page []byte, id uint64, least, most []byte, depth int) (last []byte, err error) {
	for i := range int(binary.NativeEndian.Uint16(page[10:])) {
		key, value, err := slot(page, i, 4, 8, 12)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
		if i == 0 && bytes.Compare(key, least) < 0 || i > 0 && bytes.Compare(key, last) <= 0 || most != nil && bytes.Compare(key, most) >= 0 {
			return nil, fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		last = key
		if err := c.value(key, value); err != nil {
			return nil, fmt.Errorf("key %.60q: %w", key, err)
		}
		switch flags := binary.NativeEndian.Uint32(page[headerSize+i*elementSize:]); flags {
		case 0:
		case bucketFlag:
			if err := c.bucket(key, value, id, depth); err != nil {
				return nil, fmt.Errorf("bucket %q: %w", key, err)
			}
		default:
			return nil, fmt.Errorf("page %d: element %d has flags %#x", id, i, flags)
		}
	}
	return last, nil
}

// holdsBuckets says whether an element of a leaf is a bucket. Few leaves have one.
func holdsBuckets(leaf []byte) bool {
	for at := headerSize; at+elementSize <= min(len(leaf), headerSize+elementSize*int(binary.NativeEndian.Uint16(leaf[10:]))); at += elementSize {
		if binary.NativeEndian.Uint32(leaf[at:]) == bucketFlag {
			return true
		}
	}
	return false
}

// value checks an element of one of our buckets.
func (c *checker) value(key, value []byte) error {
	switch {
	case bytes.Equal(c.within, keysBucket):
		if _, err := parseRecord(key, value); err != nil {
			return err
		}
		c.sum += share(value)
	case bytes.Equal(c.within, aboutBucket) && bytes.Equal(key, sumKey):
		c.stated = statedSum(value)
	}
	return nil
}

// bucket checks what hangs on a bucket: the tree it points to or, for a small one, the leaf inside the value, which is on
// page id.
func (c *checker) bucket(name, value []byte, id uint64, depth int) error {
	if c.within == nil {
		c.within = bytes.Clone(name)
		defer func() { c.within = nil }()
	}
	if len(value) < bucketSize {
		return fmt.Errorf("its header has %d bytes", len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		_, err := c.tree(root, nil, nil, depth+1)
		return err
	}
	inline := value[bucketSize:]
	if len(inline) < headerSize || binary.NativeEndian.Uint16(inline[8:]) != leafPage || depth > maxDepth {
		return errors.New("it holds no leaf")
	}
	_, err := c.elements(inline, id, nil, nil, depth+1)
	return err
}

// page reads a page with those that belong to it, each of which nothing else may point to.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.high {
		return nil, fmt.Errorf("page %d is out of bounds", id)
	}
	if c.leaf == nil {
		c.leaf = make([]byte, c.pageSize)
	}
	page := c.leaf
	if _, err := c.file.ReadAt(page, int64(id)*c.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	kind, more := binary.NativeEndian.Uint16(page[8:]), uint64(binary.NativeEndian.Uint32(page[12:]))
	switch {
	case binary.NativeEndian.Uint64(page) != id:
		return nil, fmt.Errorf("page %d says that it is page %d", id, binary.NativeEndian.Uint64(page))
	case kind != branchPage && kind != leafPage:
		return nil, fmt.Errorf("page %d is neither branch nor leaf", id)
	case id+more >= c.high:
		return nil, fmt.Errorf("page %d is longer than the file", id)
	}
	for i := id; i <= id+more; i++ {
		if c.seen[i] {
			return nil, fmt.Errorf("page %d is in two places", i)
		}
		c.seen[i] = true
	}
	if kind == branchPage {
		page = bytes.Clone(page) // it is looked at again after those below it
	}
	if more > 0 {
		page = append(bytes.Clone(page), make([]byte, int64(more)*c.pageSize)...)
		if _, err := c.file.ReadAt(page[c.pageSize:], int64(id+1)*c.pageSize); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return page, nil
}

// slot returns key and value of element i of a page; pos, key and value are where in the element their place and
// lengths are (value below 0: there is none).
func slot(page []byte, i, pos, key, value int) (k, v []byte, err error) {
	at := headerSize + i*elementSize
	if at+elementSize > len(page) {
		return nil, nil, fmt.Errorf("element %d is outside", i)
	}
	element := page[at:]
	from := uint64(at) + uint64(binary.NativeEndian.Uint32(element[pos:]))
	middle := from + uint64(binary.NativeEndian.Uint32(element[key:]))
	to := middle
	if value >= 0 {
		to += uint64(binary.NativeEndian.Uint32(element[value:]))
	}
	if to > uint64(len(page)) {
		return nil, nil, fmt.Errorf("element %d is outside", i)
	}
	return page[from:middle], page[middle:to], nil
}
