package blob

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azureblobs "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"golang.org/x/sync/errgroup"

	"serval"
)

// Azure is where azblob:// finds its containers, and with which keys. What is empty is found as Azure's own programs find it:
// AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_DOMAIN, and
// without keys the identities of azidentity (AZURE_CLIENT_ID and its like, a workload's or the machine's, az login).
type Azure struct {
	Account   string
	Endpoint  string // of the account, as in http://127.0.0.1:10000/devstoreaccount1; "" = https://ACCOUNT.blob.core.windows.net
	Key       string // the account's
	SAS       string // a shared access signature, in place of Key
	Anonymous bool   // a public container needs no keys
}

func (z Azure) open(ctx context.Context, id bucketID) (*blob.Bucket, error) {
	client, err := z.client(id)
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

// nowhere is an address that only a connection string takes the place of.
const nowhere = "https://nowhere.invalid"

// client is a container's. The driver reads the environment.
func (z Azure) client(id bucketID) (*container.Client, error) {
	set := azureblob.NewDefaultServiceURLOptions()
	set.AccountName = cmp.Or(id.account, z.Account, set.AccountName)
	endpoint, sas := cmp.Or(id.endpoint, z.Endpoint), cmp.Or(strings.TrimPrefix(z.SAS, "?"), set.SASToken)
	own := id.anonymous || z.Anonymous || z.Key != "" || z.SAS != ""
	set.SASToken = ""
	if endpoint == "" && !own && id.account == "" && z.Account == "" {
		client, err := azureblob.NewDefaultClient(nowhere, azureblob.ContainerName(id.name))
		if err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "azblob: the keys of the environment cannot be read: %w", err).At("AZURE_STORAGE_CONNECTION_STRING")
		}
		if !strings.HasPrefix(client.URL(), nowhere) {
			return client, nil
		}
	}
	if endpoint == "" {
		if set.AccountName == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "azblob://%s: whose container? Set AZURE_STORAGE_ACCOUNT, or write azblob://%s/…?account=NAME", id.name, id.name).At("AZURE_STORAGE_ACCOUNT")
		}
		address, err := azureblob.NewServiceURL(set)
		if err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "azblob: the account's address cannot be told (AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_DOMAIN, AZURE_STORAGE_PROTOCOL, AZURE_STORAGE_IS_LOCAL_EMULATOR): %w", err).At("AZURE_STORAGE_ACCOUNT")
		}
		endpoint = string(address)
	}
	at, err := url.JoinPath(endpoint, id.name)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "azblob: the endpoint cannot be read; write it like https://host").At("endpoint")
	}
	opt := &container.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{RetryDelay: firstPause, MaxRetryDelay: longestPause}}}
	switch {
	case id.anonymous || z.Anonymous:
		return container.NewClientWithNoCredential(at, opt)
	case z.Key != "":
		keys, err := azblob.NewSharedKeyCredential(set.AccountName, z.Key)
		if err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "azblob: the account's key is not in base64").At("key")
		}
		return container.NewClientWithSharedKeyCredential(at, keys, opt)
	case z.SAS != "":
		return container.NewClientWithNoCredential(at+"?"+sas, opt)
	case sas != "":
		endpoint += "?" + sas
	}
	return azureblob.NewDefaultClient(azureblob.ServiceURL(endpoint), azureblob.ContainerName(id.name))
}

// version is the ETag, which lists have without the quotes of headers.
func (Azure) version(as func(any) bool) string {
	var (
		listed container.BlobItem
		asked  azureblobs.GetPropertiesResponse
		read   azureblobs.DownloadStreamResponse
		tag    *azcore.ETag
	)
	switch {
	case as(&listed) && listed.Properties != nil:
		tag = listed.Properties.ETag
	case as(&asked):
		tag = asked.ETag
	case as(&read):
		tag = read.ETag
	}
	if tag == nil {
		return ""
	}
	return strings.Trim(string(*tag), `"`)
}

func (Azure) pin(ctx context.Context, version string) (context.Context, func(as func(any) bool) error) {
	// The bytes as they lie there: net/http would unpack those of a blob that is said to be gzip.
	ctx = policy.WithHTTPHeader(ctx, http.Header{"Accept-Encoding": {"identity"}})
	return ctx, func(as func(any) bool) error {
		var o *azureblobs.DownloadStreamOptions
		if as(&o) && version != "" {
			tag := azcore.ETag(`"` + version + `"`)
			o.AccessConditions = &azureblobs.AccessConditions{ModifiedAccessConditions: &azureblobs.ModifiedAccessConditions{IfMatch: &tag}}
		}
		return nil
	}
}

// azureMost is how many blocks a blob has at most.
const azureMost = 50_000

// put uploads blocks, some at a time; they are a blob once the list of them is committed. The driver's own way, the SDK's UploadStream, unmaps the
// memory that it sends from when a request ends, from which net/http may still read then: a cancelled upload crashed the program.
func (Azure) put(ctx context.Context, b *blob.Bucket, _, key string, f *os.File, size int64) error {
	var c *container.Client
	if !b.As(&c) {
		return errors.New("the bucket is not Azure's")
	}
	kind := octets
	to, headers := c.NewBlockBlobClient(azureName(key)), &azureblobs.HTTPHeaders{BlobContentType: &kind}
	if size <= partBytes {
		_, err := to.Upload(ctx, streaming.NopCloser(io.NewSectionReader(f, 0, size)), &blockblob.UploadOptions{HTTPHeaders: headers})
		return err
	}
	part := max(partBytes, (size+azureMost-1)/azureMost)
	ids := make([]string, (size+part-1)/part)
	own := rand.Text() // so that no block of another upload to the same key is taken for one of this
	all, staging := errgroup.WithContext(ctx)
	all.SetLimit(partsAt)
	for i := range ids {
		ids[i] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%05d", own, i))
		all.Go(func() error {
			from := int64(i) * part
			_, err := to.StageBlock(staging, ids[i], streaming.NopCloser(io.NewSectionReader(f, from, min(part, size-from))), nil)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	_, err := to.CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{HTTPHeaders: headers})
	return err
}

var escaped = regexp.MustCompile(`^__0x[0-9a-fA-F]+__`)

// azureName is the blob's name for a key, as gocloud's driver writes it, which reads and lists: what Azure does not keep as it is stands as
// __0xHEX__, and so does the beginning of what looks like that. The last slash counts by bytes there, so behind other letters it stays.
func azureName(key string) string {
	var out strings.Builder
	list := []rune(key)
	for i, c := range list {
		last, up := i == len(key)-1, i > 1 && list[i-1] == '.' && list[i-2] == '.'
		if c < ' ' || c == 127 || strings.ContainsRune("\"#%?\\", c) || c == '/' && (last || up) || c == '_' && escaped.MatchString(string(list[i:])) {
			fmt.Fprintf(&out, "__0x%x__", c)
			continue
		}
		out.WriteRune(c)
	}
	return out.String()
}

func (Azure) judge(err error) verdict {
	var api *azcore.ResponseError
	var identity *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &api):
		switch api.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return refused
		case http.StatusNotFound:
			return missing
		case http.StatusPreconditionFailed:
			return replaced
		case http.StatusConflict:
			if api.ErrorCode == "PublicAccessNotPermitted" {
				return refused
			}
		}
		return unknown
	case errors.As(err, &identity), strings.Contains(err.Error(), "DefaultAzureCredential"): // one of its two errors has no name
		return keyless
	case strings.Contains(err.Error(), "no such host"): // gocloud.dev takes it for an object that is not there
		return unknown
	}
	return general(err)
}
