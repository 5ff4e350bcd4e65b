// Writes a log with Tessera's POSIX storage, in the layout of C2SP tlog-tiles, and prints its
// verifier key: tessera FOLDER ENTRIES
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	vkey, err := write(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(vkey)
}

func write(folder, count string) (string, error) {
	ctx := context.Background()
	entries, err := strconv.Atoi(count)
	if err != nil {
		return "", err
	}
	secret, vkey, err := note.GenerateKey(rand.Reader, "log.example/tessera")
	if err != nil {
		return "", err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", err
	}
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	if err != nil {
		return "", err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(8192, 100*time.Millisecond)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return "", err
	}
	futures := make([]tessera.IndexFuture, entries)
	for number := range futures {
		entry := fmt.Sprintf("entry %d%s", number, strings.Repeat(".", number%97))
		futures[number] = appender.Add(ctx, tessera.NewEntry([]byte(entry)))
	}
	for _, future := range futures {
		if _, err := future(); err != nil {
			return "", err
		}
	}
	// Waits until a checkpoint covers every entry.
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	for _, future := range futures {
		if _, _, err := awaiter.Await(ctx, future); err != nil {
			return "", err
		}
	}
	return vkey, shutdown(ctx)
}
