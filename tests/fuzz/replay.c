/*
 * Runs a fuzzer's entry point over the files of a folder: the corpus as an
 * ordinary test. usage: fuzz_x DIR
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REPLAY_FILE_MAX (8u << 20) /* bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *dir, const char *name)
{
    char path[4096];
    uint8_t *data;
    size_t len;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f)
        return -1;
    data = malloc(REPLAY_FILE_MAX);
    if (!data)
        abort();
    len = fread(data, 1, REPLAY_FILE_MAX, f);
    fclose(f);
    /* an exact allocation, so that a sanitizer sees one byte too many */
    data = realloc(data, len ? len : 1);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent *de;
    int files = 0;
    DIR *d;

    if (argc != 2 || !(d = opendir(argv[1]))) {
        fprintf(stderr, "usage: %s DIR (a corpus that can be read)\n", argv[0]);
        return 2;
    }
    while ((de = readdir(d)))
        if (de->d_name[0] != '.' && replay_file(argv[1], de->d_name) == 0)
            files++;
    closedir(d);
    printf("%d inputs\n", files);
    return files > 0 ? 0 : 1;
}
