/* Measures LightGBM's and XGBoost's own C calls on one thread: each model of the arguments, one row a call and 512 rows a
 * call, over the rows of its rows.f32. Build: gcc -O2 -o libs libs.c -ldl
 *
 *   libs xgboost|lightgbm LIBRARY MODEL ROWS.f32 FEATURES SECONDS
 *
 * Prints: "one NANOSECONDS" and "batch NANOSECONDS", of CPU a call, and a checksum so that nothing is left out. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void *handle;
enum { BATCH = 512, FLOAT32 = 0, NORMAL = 0 };

static double spent(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* of this process: what else runs is not counted */
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "libs: %s: %s\n", what, why);
  exit(1);
}

static void *library;
static void *symbol(const char *name) {
  void *p = dlsym(library, name);
  if (!p) die(name, dlerror());
  return p;
}

static float *rows;
static int64_t count, features;
static double sum;

/* one call for n rows from the row on */
typedef void (*predict)(int64_t row, int64_t n);

static handle booster, fast;
static double answers[BATCH];

static int (*lgb_fast)(handle, const void *, int64_t *, double *);
static int (*lgb_mat)(handle, const void *, int, int32_t, int32_t, int, int, int, int, const char *, int64_t *, double *);

static void lightgbm(int64_t row, int64_t n) {
  int64_t len;
  int rc = n == 1 ? lgb_fast(fast, rows + row * features, &len, answers)
                  : lgb_mat(booster, rows + row * features, FLOAT32, n, features, 1, NORMAL, 0, -1, "num_threads=1", &len, answers);
  if (rc) die("predict", ((const char *(*)(void))symbol("LGBM_GetLastError"))());
  sum += answers[0];
}

static int (*xgb_dense)(handle, const char *, const char *, handle, const uint64_t **, uint64_t *, const float **);

static void xgboost(int64_t row, int64_t n) {
  static const char config[] = "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":true,\"cache_id\":0,\"missing\":NaN}";
  char array[160];
  snprintf(array, sizeof array, "{\"data\":[%zu,true],\"shape\":[%ld,%ld],\"typestr\":\"<f4\",\"version\":3}", (size_t)(rows + row * features), (long)n, (long)features);
  const uint64_t *shape;
  uint64_t dim;
  const float *out;
  if (xgb_dense(booster, array, config, fast, &shape, &dim, &out)) die("predict", ((const char *(*)(void))symbol("XGBGetLastError"))());
  sum += out[0];
}

/* calls for so many seconds, over other rows each time; returns nanoseconds a call */
static double measure(predict p, int64_t n, double seconds) {
  int64_t calls = 0, row = 0;
  for (int i = 0; i < 3; i++) p(0, n);
  double start = spent(), end;
  do {
    for (int i = 0; i < (n == 1 ? 16 : 1); i++, calls++) {
      p(row, n);
      row += n;
      if (row + n > count) row = 0;
    }
    end = spent();
  } while (end - start < seconds);
  return (end - start) / calls * 1e9;
}

int main(int argc, char **argv) {
  if (argc != 7) die("usage", "libs xgboost|lightgbm LIBRARY MODEL ROWS.f32 FEATURES SECONDS");
  if (!(library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL))) die("dlopen", dlerror());
  features = atol(argv[5]);
  FILE *f = fopen(argv[4], "rb");
  if (!f) die(argv[4], "cannot be opened");
  fseek(f, 0, SEEK_END);
  long size = ftell(f);
  rewind(f);
  rows = malloc(size);
  if (fread(rows, 1, size, f) != (size_t)size) die(argv[4], "cannot be read");
  fclose(f);
  count = size / 4 / features;
  predict p = lightgbm;
  if (!strcmp(argv[1], "lightgbm")) {
    int n;
    int (*load)(const char *, int *, handle *) = symbol("LGBM_BoosterCreateFromModelfile");
    int (*init)(handle, int, int, int, int, int32_t, const char *, handle *) = symbol("LGBM_BoosterPredictForMatSingleRowFastInit");
    lgb_fast = symbol("LGBM_BoosterPredictForMatSingleRowFast");
    lgb_mat = symbol("LGBM_BoosterPredictForMat");
    if (load(argv[3], &n, &booster) || init(booster, NORMAL, 0, -1, FLOAT32, features, "num_threads=1", &fast)) die(argv[3], "cannot be loaded");
  } else {
    p = xgboost;
    int (*create)(const handle *, uint64_t, handle *) = symbol("XGBoosterCreate");
    int (*load)(handle, const char *) = symbol("XGBoosterLoadModel");
    int (*set)(handle, const char *, const char *) = symbol("XGBoosterSetParam");
    int (*proxy)(handle *) = symbol("XGProxyDMatrixCreate");
    xgb_dense = symbol("XGBoosterPredictFromDense");
    if (create(NULL, 0, &booster) || load(booster, argv[3]) || set(booster, "nthread", "1") || proxy(&fast)) die(argv[3], "cannot be loaded");
  }
  printf("one %.0f\n", measure(p, 1, atof(argv[6])));
  printf("batch %.0f\n", measure(p, BATCH, atof(argv[6])));
  fprintf(stderr, "sum %g\n", sum);
  return 0;
}
