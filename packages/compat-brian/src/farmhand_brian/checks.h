// What Brian's programs do not ask: did the parameters of this item come in, and did its results go out?
//
// They say on stderr that a file of parameters has the wrong size, and simulate with the values that were
// there before; and they do not notice a disk that is full.
#ifndef FARMHAND_CHECKS_H
#define FARMHAND_CHECKS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <iostream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

namespace farmhand {

// While parameters are set, any word on stderr is an error, which ends the program.
class Parameters : std::streambuf
{
    std::streambuf* const before;
    bool said;

    int overflow(int character)
    {
        said = true;
        return before->sputc(character);
    }

    int sync()
    {
        return before->pubsync();
    }

public:
    Parameters() : before(std::cerr.rdbuf(this)), said(false) {}

    ~Parameters()
    {
        std::cerr.rdbuf(before);
        if (said)
            exit(1);
    }
};

// The files of results, with the sizes that they should have.
class Results
{
    const std::string directory;
    std::vector<std::pair<std::string, size_t> > files;

public:
    Results(const std::string& directory) : directory(directory) {}

    void expect(const char* name, size_t bytes)
    {
        files.push_back(std::make_pair(std::string(name), bytes));
    }

    bool are_whole() const
    {
        struct stat found;
        bool whole = stat((directory + "last_run_info.txt").c_str(), &found) == 0 && found.st_size > 0;
        for (size_t i = 0; i < files.size(); i++)
            whole = stat((directory + files[i].first).c_str(), &found) == 0
                && size_t(found.st_size) == files[i].second && whole;
        return whole;
    }
};

}

#endif
